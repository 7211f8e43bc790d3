"""RTFS, compiled to what Monty runs: as a language of scripts, and of plans."""

from ccos.engine.rtfs.language import RtfsLanguage
from ccos.engine.rtfs.plans import RtfsPlans

__all__ = ["RtfsLanguage", "RtfsPlans"]
