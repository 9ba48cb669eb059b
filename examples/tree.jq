# The spans of `runtrail replay --emit spans` as a tree a run:
#   runtrail replay --system akribes --emit spans FEED | jq -rs -f examples/tree.jq
def ms: ((.endTimeUnixNano | tonumber) - (.startTimeUnixNano | tonumber)) / 1e6 | round;
def tree($spans; $parent; $indent):
  $spans[]
  | select((.parentSpanId // "") == $parent)
  | "\($indent)\(.name)  \(ms) ms",
    tree($spans; .spanId; $indent + "  ");
[.[].resourceSpans[].scopeSpans[].spans[]]
| sort_by(.startTimeUnixNano | tonumber)
| group_by(.traceId)
| sort_by(.[0].startTimeUnixNano | tonumber)[]
| tree(.; ""; "")
