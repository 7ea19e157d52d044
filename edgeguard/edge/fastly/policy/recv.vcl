# edgeguard, recv. Early (priority 1), so that it runs before a snippet that passes, restarts or raises an error.

# Ours alone: a visitor who could send it could turn passed errors into stale pages. What a restart left is forgotten too.
unset req.http.Edgeguard-Asked;
unset req.http.Edgeguard-Closed;  # what a closed gate says goes from fetch to error in these two
unset req.http.Edgeguard-Retry;
# Asked here and carried along: in miss and fetch the number of visits counts the hop within a cluster of nodes, so it is
# 1 there at the edge already (Fastly: reference/vcl/variables/miscellaneous/fastly-ff-visits-this-service).
set req.http.Edgeguard-Tier = if(fastly.ff.visits_this_service == 0, "edge", "shield");
call edgeguard_grace;  # overwrites Edgeguard-Hold and Edgeguard-Grace, whatever the visitor sent

# The status request: what this node sees, answered at the node that visitors meet. On a shielded service the shield
# would be the second one to run this, and must not answer for the edge. Errors from 600 to 699 are for VCL's own use.
if (req.http.Edgeguard-Tier == "edge" && req.url.path == "/{{status}}") {
  error 661 "edgeguard";
}
