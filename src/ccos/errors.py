"""The one exception tree of CCOS.

::

    CcosError
    ├── ConfigurationError        a setting cannot be read or contradicts another
    ├── StorageError              the database cannot be opened, read or written
    │   ├── StorageFullError      no space is left for a write
    │   ├── SchemaTooNewError     the database was written by a newer CCOS
    │   └── IntegrityError        stored data fails its signature, hash or shape
    ├── AuditError                the audit trail cannot be written or does not verify
    ├── EgressError               an outgoing request failed
    │   ├── EgressRefusedError    policy forbids the request; nothing was sent
    │   ├── EgressTimeoutError    no complete answer in the time allowed
    │   └── ResponseTooLargeError the answer exceeded the size allowed
    ├── CapabilityError           something about a capability or its manifest
    │   ├── InvalidIdentifierError
    │   ├── InvalidManifestError
    │   ├── UnknownCapabilityError
    │   ├── CapabilityConflictError
    │   ├── InvalidArgumentsError
    │   ├── InvalidResultError
    │   └── NotCallableError      revoked, quarantined, or nobody approved it
    ├── ProviderError             the provider of a capability failed
    │   ├── ProviderUnavailableError   nothing reached it: safe to try again
    │   │   └── CircuitOpenError  it failed too often in a row and is left alone for a while
    │   ├── ProviderTimeoutError       it may or may not have acted
    │   ├── ProviderInterruptedError   it went away in the middle: it may have acted
    │   ├── CapabilityFailedError      it answered, and the answer is a failure
    │   └── DefinitionChangedError     it offers something else than was approved
    ├── ExecutionError            an execution cannot go on
    │   ├── PlanError             the plan does not compile or raised
    │   ├── ExecutionNotFoundError
    │   ├── ExecutionStateError   the execution is not in a state that allows this
    │   ├── ReplayMismatchError
    │   └── LimitExceededError
    ├── ScriptError               a script, or the engine that runs scripts, cannot go on
    │   ├── CompilationError      the text of a script is not accepted
    │   ├── ScriptRaisedError     it raised, and nothing in it caught that
    │   ├── SecurityViolationError     it asked for what its security level forbids
    │   ├── ScriptTimeoutError
    │   ├── ResourceExceededError it used more than its policy allows
    │   │   └── BudgetExhaustedError
    │   ├── ScriptCancelledError
    │   ├── ScriptNotFoundError
    │   ├── ScriptToolNotFoundError
    │   ├── ScriptConflictError   a name is taken, or a tool still needs the script
    │   ├── IsolationError        this machine cannot provide what the level promises
    │   ├── EngineBusyError       too many executions wait already
    │   └── EngineStoppedError
    ├── ResolutionError           a missing capability cannot be resolved
    │   ├── FeatureDisabledError
    │   ├── ApprovalNotFoundError
    │   ├── ApprovalStateError
    │   ├── ResolutionNotFoundError
    │   └── SourceError           one source of candidates failed
    ├── MigrationFailedError      a legacy tool, or a migration, could not be carried through
    └── ImportDocumentError       an API description cannot be read

Every error has a stable ``code`` for programs, a message for people, and a ``next_step``
that says what to do about it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CcosError(Exception):
    """Base of everything CCOS raises on purpose.

    Args:
        message: What is wrong, in one sentence, naming the thing it is about.
        next_step: What the reader can do about it; the class default when left out.
        details: The parts of the message as data (names, positions, values), for programs.
    """

    code: ClassVar[str] = "CCOS-ERROR"
    default_next_step: ClassVar[str] = "Run the command again with --verbose for the full story."

    def __init__(
        self, message: str, *, next_step: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step or self.default_next_step
        self.details = details or {}

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON-ready data: ``code``, ``message``, ``next_step``, ``details``."""
        return {
            "code": self.code,
            "message": self.message,
            "next_step": self.next_step,
            "details": self.details,
        }


class ConfigurationError(CcosError):
    """A setting cannot be read, is unknown, or contradicts another."""

    code = "CCOS-CONFIGURATION"
    default_next_step = "Correct the setting; `ccos config show` tells where each value comes from."


class StorageError(CcosError):
    """The database cannot be opened, read or written."""

    code = "CCOS-STORAGE"
    default_next_step = "Check that the database of `ccos config show` is reachable and writable."


class StorageFullError(StorageError):
    """No space is left; the write did not happen."""

    code = "CCOS-STORAGE-FULL"
    default_next_step = "Free space on the volume of CCOS_HOME and repeat the command."


class SchemaTooNewError(StorageError):
    """The database was written by a newer CCOS than this one."""

    code = "CCOS-STORAGE-SCHEMA-TOO-NEW"
    default_next_step = "Upgrade CCOS, or point CCOS_HOME at another folder."


class IntegrityError(StorageError):
    """Stored data fails its signature, its hash or its shape."""

    code = "CCOS-INTEGRITY"
    default_next_step = "Run `ccos audit verify` and restore the data from a backup."


class AuditError(CcosError):
    """The audit trail cannot be written or does not verify."""

    code = "CCOS-AUDIT"
    default_next_step = "Run `ccos audit verify` to find the first bad entry."


class EgressError(CcosError):
    """An outgoing request failed."""

    code = "CCOS-EGRESS"
    default_next_step = "Check that the host is up and reachable from this machine."


class EgressRefusedError(EgressError):
    """Policy forbids the request; nothing was sent to the refused address."""

    code = "CCOS-EGRESS-REFUSED"
    default_next_step = (
        "If the destination is meant to be reached, name it in CCOS_ALLOWED_DOMAINS or, for a "
        "private address, in CCOS_EGRESS_PRIVATE_HOSTS."
    )


class EgressTimeoutError(EgressError):
    """No complete answer arrived in the time allowed."""

    code = "CCOS-EGRESS-TIMEOUT"


class ResponseTooLargeError(EgressError):
    """The answer exceeded the size allowed; the rest was not read."""

    code = "CCOS-EGRESS-TOO-LARGE"
    default_next_step = "Raise CCOS_MAX_RESPONSE_SIZE_BYTES if answers of this size are expected."


class CapabilityError(CcosError):
    """Something is wrong with a capability or its manifest."""

    code = "CCOS-CAPABILITY"


class InvalidIdentifierError(CapabilityError):
    """A capability id breaks the rules for ids."""

    code = "CCOS-CAPABILITY-ID"
    default_next_step = (
        "Use lower-case segments of letters, digits, '_' and '-' joined by dots, "
        "such as weather.current."
    )


class InvalidManifestError(CapabilityError):
    """A manifest is malformed; ``details['errors']`` lists each fault with its place."""

    code = "CCOS-CAPABILITY-MANIFEST"
    default_next_step = "Correct the named fields; `ccos capabilities add --help` shows an example."


class UnknownCapabilityError(CapabilityError):
    """No capability of this id is registered."""

    code = "CCOS-CAPABILITY-UNKNOWN"
    default_next_step = "Search with `ccos capabilities search`, or `ccos resolve` the id."


class CapabilityConflictError(CapabilityError):
    """A registration contradicts what is registered already."""

    code = "CCOS-CAPABILITY-CONFLICT"
    default_next_step = "Give the changed definition a new version."


class InvalidArgumentsError(CapabilityError):
    """The arguments of a call do not satisfy the capability's input schema."""

    code = "CCOS-CAPABILITY-ARGUMENTS"
    default_next_step = "See the input schema with `ccos capabilities show`."


class InvalidResultError(CapabilityError):
    """The provider answered something its output schema does not allow."""

    code = "CCOS-CAPABILITY-RESULT"
    default_next_step = "The provider breaks its own contract: report it there, or revoke it."


class NotCallableError(CapabilityError):
    """The capability is revoked, quarantined, or nobody approved it."""

    code = "CCOS-CAPABILITY-NOT-CALLABLE"
    default_next_step = "See `ccos approvals list` and `ccos capabilities show` for its state."


class ProviderError(CcosError):
    """The provider of a capability failed."""

    code = "CCOS-PROVIDER"
    default_next_step = "Check that the provider runs; `ccos capabilities show` names it."


class ProviderUnavailableError(ProviderError):
    """The call never reached the provider, so trying again is safe."""

    code = "CCOS-PROVIDER-UNAVAILABLE"


class CircuitOpenError(ProviderUnavailableError):
    """It failed several times in a row, so it is left alone for a while; nothing was sent."""

    code = "CCOS-PROVIDER-CIRCUIT-OPEN"
    default_next_step = "Call it again later; the hint circuit-breaker says when."


class ProviderTimeoutError(ProviderError):
    """The provider did not answer in time; it may or may not have acted."""

    code = "CCOS-PROVIDER-TIMEOUT"


class ProviderInterruptedError(ProviderError):
    """The provider went away in the middle of the call; it may or may not have acted."""

    code = "CCOS-PROVIDER-INTERRUPTED"


class CapabilityFailedError(ProviderError):
    """The provider answered, and its answer is a failure."""

    code = "CCOS-PROVIDER-FAILED"
    default_next_step = "The message is the provider's own; correct the arguments it names."


class DefinitionChangedError(ProviderError):
    """The provider now offers something else than what was registered and approved."""

    code = "CCOS-PROVIDER-CHANGED"
    default_next_step = "Review the new definition and approve it: `ccos approvals list`."


class ExecutionError(CcosError):
    """An execution cannot go on."""

    code = "CCOS-EXECUTION"


class PlanError(ExecutionError):
    """A plan does not compile, or raised while it ran."""

    code = "CCOS-PLAN"
    default_next_step = "Correct the plan at the place named; `ccos check PLAN` reads it dry."


class ExecutionNotFoundError(ExecutionError):
    """No execution has this id."""

    code = "CCOS-EXECUTION-UNKNOWN"
    default_next_step = "List them with `ccos executions list`."


class ExecutionStateError(ExecutionError):
    """The execution is not in a state that allows the operation."""

    code = "CCOS-EXECUTION-STATE"
    default_next_step = "See its state with `ccos executions show`."


class ReplayMismatchError(ExecutionError):
    """Replaying a plan asked for another call than its journal holds."""

    code = "CCOS-EXECUTION-REPLAY"
    default_next_step = "The plan is not deterministic between its calls; run it anew."


class LimitExceededError(ExecutionError):
    """An execution used up a limit; ``details['limit']`` names it."""

    code = "CCOS-EXECUTION-LIMIT"


class ScriptError(CcosError):
    """A script, or the engine that runs scripts, cannot go on."""

    code = "CCOS-SCRIPT"


class CompilationError(ScriptError):
    """The text of a script is not accepted; ``details['diagnostics']`` says where and why."""

    code = "CCOS-SCRIPT-COMPILATION"
    default_next_step = "Correct the script at the place named; `ccos script check` reads it dry."


class ScriptRaisedError(ScriptError):
    """A script raised, and nothing in it caught that."""

    code = "CCOS-SCRIPT-RAISED"
    default_next_step = "Correct the script, or its arguments, at the place named."


class SecurityViolationError(ScriptError):
    """A script asked for something that its security level forbids."""

    code = "CCOS-SCRIPT-SECURITY"
    default_next_step = (
        "`ccos script check` names the levels that allow this; use one if it may be trusted so far."
    )


class ScriptTimeoutError(ScriptError):
    """A script did not end in the time allowed; it was stopped."""

    code = "CCOS-SCRIPT-TIMEOUT"
    default_next_step = "Give it more time, within what its security level allows."


class ResourceExceededError(ScriptError):
    """A script used more than its policy allows; ``details['limit']`` names what."""

    code = "CCOS-SCRIPT-RESOURCE"
    default_next_step = "Let it do less, or run it under a policy with a higher limit."


class BudgetExhaustedError(ResourceExceededError):
    """The budget of an execution is used up; ``details['dimension']`` names which part."""

    code = "CCOS-BUDGET-EXHAUSTED"
    default_next_step = "Give the execution a larger budget if the use is justified."


class ScriptCancelledError(ScriptError):
    """Somebody cancelled the execution; it was stopped."""

    code = "CCOS-SCRIPT-CANCELLED"
    default_next_step = "Run it again if it is still wanted."


class ScriptNotFoundError(ScriptError):
    """No script has this id."""

    code = "CCOS-SCRIPT-UNKNOWN"
    default_next_step = "List them with `ccos script list`."


class ScriptToolNotFoundError(ScriptError):
    """No script tool has this name."""

    code = "CCOS-TOOL-UNKNOWN"
    default_next_step = "List the tools of the engine and use one of those names."


class ScriptConflictError(ScriptError):
    """A name is taken already, or a tool still needs the script."""

    code = "CCOS-SCRIPT-CONFLICT"
    default_next_step = "Unregister the tool first, or choose another name."


class IsolationError(ScriptError):
    """This machine cannot provide the isolation that the security level promises."""

    code = "CCOS-SCRIPT-ISOLATION"
    default_next_step = (
        "Run it on a machine that has what is named; `ccos doctor` says what this one has."
    )


class EngineBusyError(ScriptError):
    """Too many executions wait already; this one was not accepted."""

    code = "CCOS-ENGINE-BUSY"
    default_next_step = "Try again a little later, or raise the concurrency of the engine."


class EngineStoppedError(ScriptError):
    """The engine is not running."""

    code = "CCOS-ENGINE-STOPPED"
    default_next_step = "Start the engine first; `ccos engine health` says how it is."


class ResolutionError(CcosError):
    """A missing capability cannot be resolved."""

    code = "CCOS-RESOLUTION"
    default_next_step = "See why with `ccos queue --json` and `ccos audit tail`."


class FeatureDisabledError(ResolutionError):
    """A feature flag switches this operation off."""

    code = "CCOS-FEATURE-DISABLED"


class ApprovalNotFoundError(ResolutionError):
    """No approval has this id, and no capability of this id waits for one."""

    code = "CCOS-APPROVAL-UNKNOWN"
    default_next_step = "List what waits with `ccos approvals list`."


class ApprovalStateError(ResolutionError):
    """The approval is decided, expired or superseded already."""

    code = "CCOS-APPROVAL-STATE"
    default_next_step = "See it with `ccos approvals show`."


class ResolutionNotFoundError(ResolutionError):
    """Nothing asked for this capability, so there is nothing to resolve."""

    code = "CCOS-RESOLUTION-UNKNOWN"
    default_next_step = "List what is wanted with `ccos queue`."


class SourceError(ResolutionError):
    """One source of candidates failed; the others go on."""

    code = "CCOS-RESOLUTION-SOURCE"


class MigrationFailedError(CcosError):
    """A legacy tool, or a migration, could not be carried through; ``details`` hold the cause."""

    code = "CCOS-MIGRATION"
    default_next_step = (
        "Correct what is named; `ccos migration migrate --dry-run` predicts the rest."
    )


class ImportDocumentError(CcosError):
    """An API description cannot be read at all."""

    code = "CCOS-IMPORT-DOCUMENT"
    default_next_step = "Check that the file or URL is a valid API description."
