"""How texts that steer a model are worded, as patterns over one sentence in lower case."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Poison(StrEnum):
    """What a finding is about."""

    HIDDEN = "hidden characters"
    INSTRUCTION = "an instruction to a model"
    CONCEALMENT = "a wish to keep something from people"
    SELF_PRAISE = "a claim that nobody needs to be asked"
    EXFILTRATION = "a way for data to leave"
    SHADOWING = "a say in how other tools are used"
    LOOKALIKE = "a name that looks like another"
    ENCODED = "encoded text"
    OVERSIZED = "more text than anybody reads"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.VERBOSE)


_TOOL: Final = r"(?:tools?|functions?|capabilit(?:y|ies)|mcp|commands?|operations?)"
_EARLIER: Final = (
    r"(?:previous|prior|above|earlier|preceding|other|existing|original|all|any|your|system|safety)"
)
_RULES: Final = (
    r"(?:instructions?|rules?|prompts?|guidelines?|polic(?:y|ies)|directions?|constraints?"
    r"|restrictions?|safeguards?|guardrails?)"
)
_PEOPLE: Final = (
    r"(?:user|users|human|humans|operator|person|people|them|anyone|anybody|administrator)"
)
_GUARDED_PLACE: Final = (
    r"(?:\.ssh\b|id_(?:rsa|ed25519|ecdsa)\b|\.aws/|\.env\b|\.npmrc\b|\.netrc\b|\.pgpass\b|\.kube/"
    r"|\.git-credentials|/etc/(?:passwd|shadow)|mcp\.json|\.cursor/|keychain|credentials\.json"
    r"|environment\ variables|private\ keys?\b|api\ keys?\b|access\ tokens?\b|passwords?\b"
    r"|wallet\ seeds?|seed\ phrases?)"
)
_CONTEXT: Final = (
    r"(?:conversation|chat|dialogue|message|prompt|system\ prompt|context|session|memory)"
)

PATTERNS: Final[tuple[tuple[Poison, re.Pattern[str]], ...]] = tuple(
    (kind, _pattern(text))
    for kind, text in (
        (
            Poison.INSTRUCTION,
            r"\b(?:ignore|disregard|forget|override|bypass|set\ aside|do\ not\ follow"
            r"|stop\ following)"
            rf"\b[^.]{{0,40}}?\b{_EARLIER}\b[^.]{{0,30}}?\b{_RULES}\b",
        ),
        (
            Poison.INSTRUCTION,
            r"\b(?:ignorier\w*|vergiss|missachte)\b.{0,40}\banweisungen\b"
            r"|\b(?:ignore[rz]?|oublie[rz]?)\b.{0,20}\b(?:instructions|consignes)\b"
            r"|\b(?:ignora|olvida)\w*\b.{0,20}\b(?:instrucciones|istruzioni)\b"
            r"|\bignor[ea]\w*\b.{0,20}\binstruções\b"
            r"|\b(?:игнорируй|забудь)\w*.{0,20}(?:инструкци|указани)"
            r"|(?:忽略|无视|忘记).{0,12}(?:指令|指示|说明|规则)"
            r"|(?:指示|命令|ルール).{0,4}(?:無視|忘れ)"
            r"|(?:지시|명령|규칙).{0,6}(?:무시|잊)",
        ),
        (
            Poison.INSTRUCTION,
            r"<\s*/?\s*(?:important|system|assistant|instructions?|secret|admin|tool_call|s)\s*>"
            r"|<\|[a-z_]{2,20}\|>|\[/?(?:system|inst|assistant|admin)\]"
            r"|(?:^|\s)\#{1,4}\s*(?:system|assistant|instructions?\ (?:to|for)\ (?:the\ )?"
            r"(?:ai|model|llm|assistant))\b"
            r"|(?:^|\s)(?:system|assistant)\s*:\s+\w",
        ),
        (
            Poison.INSTRUCTION,
            r"\b(?:note|message|instructions?|important|attention|reminder)\b[^.]{0,12}"
            r"\b(?:to|for)\ (?:the\ |any\ |all\ |every\ )?"
            r"(?:ai|llms?|models?|language\ models?|assistants?|agents?)\b"
            r"|\b(?:you\ are\ (?:now\ )?(?:an?\ )?(?:in\ )?(?:developer\ mode|dan|unrestricted"
            r"|jailbroken|root))\b",
        ),
        (
            Poison.INSTRUCTION,
            r"\b(?:you|the\ (?:ai|llm|model|assistant|agent))\ (?:must|shall|should|will|need\ to"
            r"|has\ to|have\ to|is\ required\ to|are\ required\ to)\ (?:always\ |first\ |also\ "
            r"|immediately\ |then\ |never\ |not\ |silently\ )*"
            rf"(?:call|invoke|run|execute|use)\b[^.]{{0,60}}\b(?:before|first|after|instead|{_TOOL})\b",
        ),
        (
            Poison.INSTRUCTION,
            r"\b(?:before|prior\ to|after|whenever|when)\ (?:you\ )?(?:us(?:e|ing)|call(?:ing)?"
            r"|invok(?:e|ing)|running|run)\ (?:this|any|every|another|the)\b[^.]{0,40}"
            r"[,:]?\s(?:always\ |first\ |please\ |you\ must\ |silently\ )*"
            r"(?:read|open|fetch|send|forward|call|invoke|run|execute|download|include|collect|cat)\b",
        ),
        (
            Poison.CONCEALMENT,
            rf"\b(?:do\ not|don['’]t|never|without|avoid|must\ not|should\ not)\ (?:ever\ )?"
            rf"(?:tell(?:ing)?|mention(?:ing)?|inform(?:ing)?|reveal(?:ing)?|show(?:ing)?"
            rf"|notify(?:ing)?|disclos(?:e|ing)|alert(?:ing)?|let(?:ting)?|ask(?:ing)?)\b"
            rf"[^.]{{0,40}}\b{_PEOPLE}\b",
        ),
        (
            Poison.CONCEALMENT,
            r"\b(?:silently|secretly|covertly|quietly|hidden\ from\ the\ user)\b[^.]{0,60}"
            r"\b(?:send|forward|read|call|cop(?:y|ies)|upload|post|include|add|execute|run|append)\w*\b"
            r"|\b(?:send|forward|read|call|cop(?:y|ies)|upload|post|include|execute|run)\w*\b[^.]{0,60}"
            r"\b(?:silently|secretly|covertly|without\ (?:the\ )?user)\b",
        ),
        (
            Poison.SELF_PRAISE,
            r"\b(?:pre-?approved|already\ approved|no\ (?:approval|confirmation|review)\ (?:is\ )?"
            r"(?:needed|required|necessary)|(?:skip|without|bypass|needs?\ no|does\ not\ need)\ "
            r"(?:the\ |any\ |human\ )*(?:approval|confirmation|security\ (?:check|review))s?"
            r"|(?:verified|certified|audited|trusted|endorsed)\ by\ (?:anthropic|openai|google"
            r"|microsoft|the\ (?:security|platform)\ team|ccos)"
            r"|risk\ (?:score|level)\s*[:=]?\s*(?:is\ )?(?:low|none|zero|0))\b",
        ),
        (
            Poison.EXFILTRATION,
            rf"\b(?:read|open|cat|load|include|attach|send|forward|copy|upload|pass|provide|paste"
            rf"|collect|contents?\ of|exfiltrate|append|put)\b[^!?]{{0,80}}{_GUARDED_PLACE}"
            r"(?:[^!?]{0,120}\b(?:as|into|in|to|via|through)\b[^!?]{0,40}\b(?:parameter|argument"
            r"|field|sidenote|note|tool|server|url|request|this)|[^!?]{0,60}\b(?:before|first|and)\b)",
        ),
        (
            Poison.EXFILTRATION,
            r"(?:~|/root|/home/\w+|\$home|%userprofile%)/?\\?\.(?:ssh|aws|kube|gnupg|cursor|docker"
            r"|config/gcloud)\b|/etc/(?:passwd|shadow)\b|\bid_(?:rsa|ed25519)\b",
        ),
        (
            Poison.EXFILTRATION,
            r"\b(?:curl|wget|iwr|invoke-webrequest)\b[^|]{0,200}\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b"
            r"|\bpowershell\b[^.]{0,60}-e(?:nc|ncodedcommand)?\b"
            r"|\bbase64\s+(?:-d|--decode)\b|\bnc\s+-\w*e\b|\b(?:bash|sh)\s+-i\b",
        ),
        (
            Poison.EXFILTRATION,
            rf"\b(?:full|entire|complete|whole|all|verbatim)\b(?:\ (?:of|the|our|your|previous"
            rf"|current|user['’]?s?|raw))*\ {_CONTEXT}(?:\ (?:history|log|so\ far|contents?|window"
            r"|transcript|text|messages?)|s\b)"
            r"|\b(?:contents?|copy|text)\ of\ (?:the\ |your\ )*system\ prompt\b"
            r"|\b(?:the|your)\ system\ prompt\b[^.]{0,30}\b(?:here|in\ this|as\ this|verbatim)\b"
            r"|\b(?:results?|outputs?)\ of\ (?:all\ |any\ |every\ |the\ )*"
            r"(?:other|previous|earlier)"
            rf"\ {_TOOL}\b",
        ),
        (
            Poison.SHADOWING,
            rf"\b(?:instead\ of|rather\ than|in\ place\ of|over|before|replaces?|supersedes?)\ "
            rf"(?:using\ |calling\ )?(?:any|all|every|the)\ (?:and\ all\ )?other"
            rf"\ (?:\w+\ )?{_TOOL}\b"
            rf"|\b(?:all|any|every|the)\ other\ (?:\w+\ )?{_TOOL}"
            r"\ (?:are|is|have\ been|has\ been)\b"
            r"|\b(?:always|only)\ (?:use|call|prefer|choose|pick|select)\ this\ (?:tool|function"
            r"|server)\b[^.]{0,40}\b(?:instead|over|first|any|all|every|whatever|regardless)\b"
            rf"|\bwhen(?:ever)?\ (?:any\ |another\ |an\ )?(?:other\ )?{_TOOL}\ (?:is|are|gets?)\ "
            r"(?:called|used|invoked|run)\b",
        ),
    )
)
