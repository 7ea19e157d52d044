# edgeguard, deliver: mark a stale answer, for the node in front and for who asks. Late (priority 9999). X-Cache doesn't
# tell: it says HIT for a stale answer too.
if (resp.stale.is_error || fastly_info.state ~ "STALE") {  # if the former does not survive the hop within a cluster
  # Edgeguard-Asked says who served it: "held" is our miss, which did not ask the origin. Where a neighbour in the cluster
  # served it, the word did not come back, and on hold that was miss: after a restart, no neighbour is asked.
  set resp.http.Edgeguard-Stale = if(req.http.Edgeguard-Asked == "held"
    || (!req.http.Edgeguard-Asked && req.http.Edgeguard-Hold == "1"), "hold", "error");
  if (req.http.Edgeguard-Tier == "shield") {
    # At a shield. Without these the node in front can't be told "304 Not Modified", for which its fetch would not run.
    unset resp.http.ETag;
    unset resp.http.Last-Modified;
  }
}
# What the shield marked stays marked. Visitors see none of it, but those who ask by the status name.
if (req.http.Edgeguard-Tier != "shield" && req.http.Edgeguard-Show != "{{status}}") {
  unset resp.http.Edgeguard-Stale;
  unset resp.http.Edgeguard-Copy;
}
# The ceiling stays among this service's nodes, whoever put it there: our fetch for the node in front, or a gate for both.
# Fastly takes Surrogate-Control out of answers for browsers, and leaves it for another service in front (Fastly-FF) and
# for who debugs. A cache there would keep a page that long, and knows none of our claims. What the origin itself
# promises stays.
if (req.http.Edgeguard-Tier != "shield") {
  std.collect(resp.http.Surrogate-Control, ",");
  if (resp.http.Surrogate-Control ~ "(?i)stale-if-error=[^0-9,]?{{ceiling}}[^0-9,]?(?:,|\z)") {
    set resp.http.Surrogate-Control = regsuball(resp.http.Surrogate-Control, "(?i)\s*stale-if-error=[^0-9,]?{{ceiling}}[^0-9,]?(?:,|\z)", "");
    set resp.http.Surrogate-Control = regsuball(resp.http.Surrogate-Control, "^\s+|\s*,\s*\z", "");
    if (resp.http.Surrogate-Control == "") {
      unset resp.http.Surrogate-Control;
    }
  }
}
