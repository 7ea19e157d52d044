  # {{slot}}, "until:grace:nonce": as above, without a hold.
  set var.eg_item = table.lookup({{dictionary}}, "{{slot}}", "");
  if (var.eg_item ~ "^([0-9]{10}):([0-9]{1,7}):[a-z0-9]{4,12}\z") {
    set var.eg_until = std.atoi(re.group.1);
    set var.eg_asks = std.atoi(re.group.2);
    if (var.eg_until > var.eg_now && var.eg_until < var.eg_far && var.eg_asks > var.eg_grace) {
      set var.eg_grace = var.eg_asks;
    }
  }
