# edgeguard: the grace in force, computed from the dictionary "{{dictionary}}". Nothing here acts on a response.
#
# Called at the top of recv, and again in miss, fetch and error: those run on the node that fetches, and that a limit
# set in recv still holds there is implied by Fastly's own snippets, but nowhere stated.
#
# It leaves behind, on the request:
#   req.max_stale_if_error       the grace in force; Fastly serves stale for the lower of this and the object's own
#   req.http.Edgeguard-Grace     the same, in seconds, for the status answer
#   req.http.Edgeguard-Hold      "1" while a deploy's hold lasts, else "0"
#
# Whatever an item of the dictionary holds, the result lies between the base and the ceiling, which are literals here.
# @scope: recv, miss, fetch, error
sub edgeguard_grace {
  declare local var.eg_now INTEGER;    # this node's clock, Unix seconds
  declare local var.eg_far INTEGER;    # a claim that would last beyond this moment is a mistake
  declare local var.eg_near INTEGER;   # a hold that would last beyond this one, too
  declare local var.eg_grace INTEGER;  # the largest grace seen so far
  declare local var.eg_item STRING;    # the slot that is being read
  declare local var.eg_until INTEGER;  # its claim ends at this moment
  declare local var.eg_asks INTEGER;   # its claim asks for this grace
  declare local var.eg_hold INTEGER;   # its hold ends at this moment

  set var.eg_now = std.atoi(now.sec);
  set var.eg_far = var.eg_now;
  set var.eg_far += {{longest}};  # the ceiling and a day: what a claim can reasonably last
  set var.eg_near = var.eg_now;
  set var.eg_near += {{held}};    # a hold lasts minutes, and is renewed
  set var.eg_grace = {{base}};    # with no claim, and with garbage in every slot, the base is in force
  set req.http.Edgeguard-Hold = "0";

{{claims}}
  if (var.eg_grace > {{ceiling}}) {  # objects are stored with the ceiling; to allow more would promise what isn't there
    set var.eg_grace = {{ceiling}};
  }
  set req.max_stale_if_error = var.eg_grace;  # an INTEGER variable is taken as seconds (an INTEGER literal is refused)
  set req.http.Edgeguard-Grace = var.eg_grace;
  # Off on hold, since it asks the origin in the background and comes before stale-if-error. Off at a shield always: the
  # node in front would keep such an answer as a fresh one.
  if (req.http.Edgeguard-Hold == "1" || req.http.Edgeguard-Tier == "shield") {
    set req.max_stale_while_revalidate = 0s;
  }
}
