"""``ccos worker``: work on missing capabilities until told to stop."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated, Final

from cyclopts import Parameter

from ccos.errors import CcosError
from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import COMMON, Common
from ccos.interfaces.cli.session import Session, load, opened

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LOOK_FOR_MIGRATIONS_SECONDS: Final = 30.0


async def worker(
    *,
    drain: Annotated[
        float, Parameter(help="Seconds to finish what is under way after a signal.")
    ] = 30.0,
    common: Common = COMMON,
) -> ExitCode:
    """Work on missing capabilities and resume what waited, until SIGTERM or SIGINT.

    Migrations of legacy tools whose process died are carried on as well.

    A first signal lets the round under way finish; a second one, or the end of the drain time,
    stops it. What is unfinished then is taken over by another worker.
    """
    from ccos.interfaces.cli.progress import progress

    warnings = load(common).warnings
    async with opened(common) as session:
        for warning in warnings:
            session.screen.note(f"Warning: {warning}")
        work = asyncio.create_task(session.ccos.worker.run())
        migrations = asyncio.create_task(_carry_on_migrations(session))
        signals = 0
        told = asyncio.Event()

        def on_signal() -> None:
            nonlocal signals
            signals += 1
            told.set()
            session.ccos.worker.stop()
            if signals > 1:
                work.cancel()

        loop = asyncio.get_running_loop()
        for one in _SIGNALS:
            loop.add_signal_handler(one, on_signal)
        async with progress(session) as shown:
            identity = session.ccos.runtime.worker_id
            shown.line(f"Worker {identity} is at work. Stop it with Ctrl-C.")
            stopping = asyncio.create_task(told.wait())
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            _, unfinished = await asyncio.wait({work}, timeout=drain)
            for task in (*unfinished, stopping, migrations):
                task.cancel()
            await asyncio.gather(work, stopping, migrations, return_exceptions=True)
        drained = not work.cancelled()
        if drained:
            work.result()
        session.screen.document({"worker": identity, "drained": drained})
        session.screen.note(
            "Stopped." if drained else "Stopped in the middle; another worker takes it over."
        )
        return ExitCode.DONE


async def _carry_on_migrations(session: Session) -> None:
    """Carry on what a process that migrated left undone, now and then."""
    if not session.settings.migration.enabled:
        return
    from ccos.migration import MigrationManager, MigrationManagerConfig

    config = MigrationManagerConfig.of(session.settings.migration)
    async with await MigrationManager.new(config, session.ccos.migration_parts()) as manager:
        while True:
            try:
                for report in await manager.recover():
                    phase = report.state.phase.value
                    session.screen.note(f"Migration {report.migration_id} was ended: {phase}.")
            except CcosError as error:
                session.screen.note(f"A migration could not be carried on: {error.message}")
            await asyncio.sleep(_LOOK_FOR_MIGRATIONS_SECONDS)
