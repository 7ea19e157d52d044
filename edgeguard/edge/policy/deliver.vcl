# edgeguard, deliver: tell who asks whether this answer is stale, and why. Late (priority 9999). X-Cache can't: it says
# HIT for a stale answer too.
unset resp.http.Edgeguard-Stale;  # never another's word, and nothing for visitors
if (req.http.Edgeguard-Show == "{{status}}" && resp.stale.is_error) {
  # On hold, miss serves a stale copy where there is one; so a stale answer while on hold is a held one.
  set resp.http.Edgeguard-Stale = if(req.http.Edgeguard-Hold == "1", "hold", "error");
}
