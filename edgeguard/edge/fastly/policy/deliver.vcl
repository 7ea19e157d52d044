# edgeguard, deliver: mark a stale answer, for the node in front and for who asks. Late (priority 9999). X-Cache doesn't
# tell: it says HIT for a stale answer too.
if (resp.stale.is_error || fastly_info.state ~ "STALE") {  # if the former does not survive the hop within a cluster
  # On hold, miss serves a stale copy where there is one; so a stale answer while on hold is a held one.
  set resp.http.Edgeguard-Stale = if(req.http.Edgeguard-Hold == "1", "hold", "error");
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
