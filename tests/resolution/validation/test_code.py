"""The analysers of code: each finding, and next to it the code that gives none."""

from __future__ import annotations

import pytest

from ccos.capabilities import EffectType, LocalProvider, Manifest, ScriptProvider, TrustTier
from ccos.marketplace import Registered, Standing
from ccos.resolution.validation import Code, Rules, Severity, ValidationReport, validate
from ccos.resolution.validation.validator import dependencies_of

pytestmark = pytest.mark.anyio


def registered(capability_id: str, **changes: object) -> Registered:
    manifest = Manifest(
        id=capability_id,
        name=capability_id,
        provider=LocalProvider(handler=capability_id),
        trust_tier=TrustTier.APPROVED,
        effect_type=EffectType.READ_ONLY,
    ).model_copy(update=changes)
    return Registered(manifest, manifest.definition_hash(), Standing.ACTIVE)


NEIGHBOURS = {
    one.manifest.id: one
    for one in (
        registered("weather.current"),
        registered("mail.send", effect_type=EffectType.EFFECTFUL, effects=("network",)),
        registered("old.api", metadata={"deprecated": "true"}),
        registered("wild.api", trust_tier=TrustTier.UNKNOWN),
        registered("db.rows"),
        *(registered(f"many.c{number}") for number in range(12)),
    )
}


async def neighbour(capability_id: str) -> Registered | None:
    return NEIGHBOURS.get(capability_id)


CANDIDATE = Manifest(
    id="text.shorten",
    name="shorten",
    description="Shortens a text to so many words.",
    provider=ScriptProvider(script_id="s", content_id="c", function="work", argument="input"),
    effects=("network",),
    effect_type=EffectType.PURE,
)


async def judged(language: str, source: str, function: str = "work") -> ValidationReport:
    code = Code(language, source, function if language == "python" else "")
    return await validate(CANDIDATE, Rules(), neighbour, code=code)


def rtfs(body: str, *, parameters: str = "[input]", around: str = "") -> str:
    return (
        f'{around}\n(capability "text.shorten" :description "Shortens." '
        f":implementation (fn {parameters} {body}))"
    )


def python(body: str, *, parameters: str = "input", around: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{around}\ndef work({parameters}):\n{lines}\n"


KEY = "ghp_" + "a1B2" * 9

FINDINGS = [
    ("SEC001", python('password = "hunter2"'), python('password = input["password"]')),
    ("SEC001", python('return {"api_key": "hunter2"}'), python('return {"monkey": "hunter2"}')),
    ("SEC001", python(f'x = "{KEY}"'), python(f'# x = "{KEY}"\nx = "ghp_short"')),
    ("SEC001", rtfs('(let [api-key "k1"] 1)'), rtfs("(let [{:keys [api-key]} input] 1)")),
    ("SEC001", rtfs('{:password "x"}'), rtfs('; {:password "x"}\n{:passenger "x"}')),
    (
        "SEC002",
        python('call("db.rows", query="SELECT * FROM t WHERE a = " + input["a"])'),
        python('call("db.rows", query="SELECT * FROM t WHERE a = ?", values=[input["a"]])'),
    ),
    (
        "SEC002",
        rtfs('(let [q (str "delete from t where id = " (:id input))] (call :db.rows {:sql q}))'),
        rtfs('(let [q (str "please select one of " (:id input))] (call :db.rows {:sql q}))'),
    ),
    (
        "SEC_ANALYZER001",
        python('call("a." + input["x"])'),
        python('call("weather.current" if input["x"] else "db.rows")'),
    ),
    (
        "SEC_ANALYZER001",
        rtfs('(call (str "a." (:x input)) 1)'),
        rtfs("(call (if (:x input) :weather.current :db.rows) 1)"),
    ),
    ("SEC_ANALYZER001", python('call("os.exec", "ls")'), python('call("weather.current", "exec")')),
    ("SEC_ANALYZER001", python('eval("1")'), python("evaluate = 1")),
    ("SEC_ANALYZER002", python('x = "http://a.example/"'), python('x = "https://a.example/"')),
    ("SEC_ANALYZER002", rtfs('"http://a.example"'), rtfs('"http://127.0.0.1:80/"')),
    (
        "SEC_ANALYZER003",
        python('call("weather.current", headers={"Authorization": "Bearer x"})'),
        python('call("weather.current", headers={"Authorization": input["a"]})'),
    ),
    (
        "SEC_ANALYZER004",
        python("print(token)", parameters="token"),
        python('print("token")', parameters="token"),
    ),
    (
        "SEC_ANALYZER004",
        python("return {'t': token}", parameters="token"),
        python("return call('weather.current', token)", parameters="token"),
    ),
    (
        "SEC_ANALYZER004",
        rtfs("(let [{:keys [token]} input] (println token))"),
        rtfs("(let [{:keys [name]} input] (println name))"),
    ),
    (
        "QUAL001",
        python('call("mail.send")'),
        python('try:\n    call("mail.send")\nexcept Exception:\n    pass'),
    ),
    (
        "QUAL001",
        rtfs("(call :mail.send {})"),
        rtfs("(try (call :mail.send {}) (catch e nil))"),
    ),
    ("QUAL001", rtfs("(call :mail.send {})"), rtfs("(call :weather.current {})")),
    ("SYNTAX002", "def work(:", python("pass")),
    ("SYNTAX002", '(capability "text.shorten"', rtfs("1")),
    ("SYNTAX001", rtfs("(let [x] x)"), rtfs("(let [x 1] x)")),
    ("SYNTAX003", "(defn f [x] x)", rtfs("1")),
    ("SYNTAX003", rtfs("1").replace("shorten", "lengthen", 1), rtfs("1")),
    ("SYNTAX003", rtfs("1") + rtfs("2"), rtfs("1")),
    ("SYNTAX004", rtfs("1").replace(':description "Shortens."', ""), rtfs("1")),
    ("SYNTAX005", '(capability "text.shorten" :description "x")', rtfs("1")),
    ("SYNTAX005", "x = 1", python("pass")),
    ("PERF_ANALYZER001", rtfs("(+ 1 " * 11 + "1" + ")" * 11), rtfs("(+ 1 (+ 1 (+ 1 1)))")),
    (
        "PERF_ANALYZER002",
        python("while True:\n    x = 1"),
        python("while True:\n    if input:\n        break"),
    ),
    (
        "PERF_ANALYZER002",
        rtfs("(loop [i 0] (recur (+ i 1)))"),
        rtfs("(loop [i 0] (if (< i 3) (recur (+ i 1)) i))"),
    ),
    (
        "PERF_ANALYZER003",
        python("\n".join(['call("weather.current")'] * 21)),
        python("\n".join(['call("weather.current")'] * 20)),
    ),
    (
        "PERF_ANALYZER004",
        python("return work(input) + 1"),
        python("if input:\n    return 1\nreturn work(input)"),
    ),
    (
        "PERF_ANALYZER004",
        rtfs("(a 1)", around="(defn a [x] (b x)) (defn b [x] (a x))"),
        rtfs("(a 1)", around="(defn a [x] (if x 1 (b x))) (defn b [x] (a x))"),
    ),
    (
        "DEP_ANALYZER001",
        python("\n".join(f'call("many.c{n}")' for n in range(11))),
        python("\n".join(f'call("many.c{n}")' for n in range(10))),
    ),
    ("DEP_ANALYZER002", python('call("no.such")'), python('call("weather.current")')),
    ("DEP_ANALYZER002", python('call("wild.api")'), python('call("weather.current")')),
    ("DEP_ANALYZER003", rtfs("(call :old.api 1)"), rtfs("(call :weather.current 1)")),
]


@pytest.mark.parametrize(
    ("code", "bad", "good"), FINDINGS, ids=[f"{n}-{one[0]}" for n, one in enumerate(FINDINGS)]
)
async def test_a_finding_and_its_twin(code: str, bad: str, good: str) -> None:
    def language(source: str) -> str:
        return "rtfs" if source.lstrip().startswith(("(", ";")) else "python"

    found = await judged(language(bad), bad)
    assert code in {one.code for one in found.issues}, found.issues
    clean = await judged(language(good), good)
    assert code not in {one.code for one in clean.issues}, clean.issues
    fatal = [one for one in clean.issues if one.code.startswith("SYNTAX")]
    assert fatal == []


async def test_what_stands_in_comments_and_texts_is_no_call() -> None:
    body = '; (call :no.such)\n(str "(call :no.such 1)")'
    assert (await judged("rtfs", rtfs(body))).issues == ()
    body = '# call("no.such")\nreturn "call(\'no.such\')"'
    assert (await judged("python", python(body))).issues == ()


async def test_a_call_that_a_macro_makes_is_seen() -> None:
    around = "(defmacro hidden [x] `(call :os.exec ~x))"
    found = await judged("rtfs", rtfs("(hidden 1)", around=around))
    assert "SEC_ANALYZER001" in {one.code for one in found.issues}


async def test_a_call_under_a_name_of_the_code_itself_is_no_call() -> None:
    source = python("return call(1)", around="def call(x):\n    return x")
    assert (await judged("python", source)).issues == ()


async def test_the_place_is_told() -> None:
    found = await judged("python", python('x = 1\npassword = "hunter2"'))
    (one,) = found.issues
    assert (one.code, one.location, one.severity) == ("SEC001", "line 4", Severity.CRITICAL)


async def test_code_in_another_language_is_refused_and_not_passed() -> None:
    assert (await validate(CANDIDATE, Rules(), neighbour, code=Code("perl", "1"))).rejects


def test_dependencies_come_from_the_tree() -> None:
    code = Code("python", python('call("b.c")\nweather.current()\n# call("d.e")'), "work")
    assert dependencies_of(code, "text.shorten") == {"b.c", "weather.current"}
    assert dependencies_of(Code("python", "def"), "text.shorten") == frozenset()


async def test_absurd_nesting_is_no_crash() -> None:
    nested = python("return " + "(" * 50 + "1" + ")" * 50)
    assert not (await judged("python", nested)).rejects
    await judged("python", python("return " + "-" * 5_000 + "1"))
    assert (await judged("python", python("return " + "(" * 5_000 + "1" + ")" * 5_000))).rejects
    assert (await judged("rtfs", rtfs("(+ " * 5_000 + "1" + ")" * 5_000))).rejects
