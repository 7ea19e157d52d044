  # {{slot}}, "until:grace:hold_until:nonce". The default is given always: without it an absent item is "not set",
  # which becomes "" when assigned. Only digits of a fixed length reach std.atoi, whose answer to garbage is unknown.
  set var.eg_item = table.lookup({{dictionary}}, "{{slot}}", "");
  if (var.eg_item ~ "^([0-9]{10}):([0-9]{1,7}):([0-9]{10}):[a-z0-9]{4,12}\z") {
    set var.eg_until = std.atoi(re.group.1);
    set var.eg_asks = std.atoi(re.group.2);
    set var.eg_hold = std.atoi(re.group.3);
    if (var.eg_until > var.eg_now && var.eg_until < var.eg_far) {
      if (var.eg_asks > var.eg_grace) {
        set var.eg_grace = var.eg_asks;  # the largest wins, so the order in which items arrive can't matter
      }
      if (var.eg_hold > var.eg_now && var.eg_hold < var.eg_near) {
        set req.http.Edgeguard-Hold = "1";
      }
    }
  }
