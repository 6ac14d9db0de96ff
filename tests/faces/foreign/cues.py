"""Every kind of run that the scripted model can cause, and those of them that end as errors."""

FINE = [
    "[[think Hm.]] [[say Yes.]]",
    "[[refuse No.]]",
    "[[say So]] [[refuse No.]]",
    "[[empty]]",
    "[[nul]]",
    "[[say So]] [[finish length]]",
    "[[finish content_filter]]",
    "[[call clock]] [[call clock]] [[say {result}]]",
    "[[call clock]] [[next]] [[call clock]] [[say {result}]]",
    '[[say Well,]] [[call clock {"timezone": "Nowhere"}]] [[say {result}]]',
    "[[call nothing_of_that_name]] [[say {result}]]",
    "[[call clock [1]]] [[say {result}]]",
    "[[tokens 40]]",
]
BROKEN = [
    "[[cut after=0]]",
    "[[cut after=3]]",
    "[[fail 429 retry=1]]",
    "[[fail after=2 quota]]",
    "[[fail auth]]",
    "[[think Hm.]] [[fail after=2 context_too_long]]",
    "[[fail content_filtered]]",
    "[[call clock]] [[next]] [[fail timeout]]",
]
