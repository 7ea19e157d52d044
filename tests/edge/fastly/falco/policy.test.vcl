// Run by falco's tester on the policy as it is rendered for the default settings; see test_policy_falco.py.

// @scope: recv
// @suite: a visitor's headers are overwritten
sub test_recv {
  set req.http.Edgeguard-Hold = "1";
  set req.http.Edgeguard-Grace = "1";
  set req.http.Edgeguard-Asked = "miss";
  set req.http.Edgeguard-Closed = "d1";
  set req.http.Edgeguard-Retry = "1";
  set req.http.Edgeguard-Tier = "shield";
  testing.call_subroutine("vcl_recv");
  assert.equal(req.http.Edgeguard-Hold, "0");
  assert.equal(req.http.Edgeguard-Grace, "3600");
  assert.is_notset(req.http.Edgeguard-Asked);
  assert.is_notset(req.http.Edgeguard-Closed);
  assert.is_notset(req.http.Edgeguard-Retry);
  assert.equal(req.http.Edgeguard-Tier, "edge");
  assert.equal(testing.state, "LOOKUP");
}

// @scope: recv
// @suite: the status request is an error of the policy's own
sub test_status {
  set req.url = "/edgeguard-status?x=1";
  testing.call_subroutine("vcl_recv");
  assert.equal(testing.inspect("obj.status"), 661);
}

// @scope: error
// @suite: the status tells what is in the slots, encoded
sub test_status_answer {
  testing.fixed_time(1800000000);
  testing.table_set(edgeguard, "deploy0", "1800000100:7200:1800000010:abcd1234");
  testing.table_set(edgeguard, "support8", "grace=1 hold=1");
  set obj.status = 661;
  set obj.response = "edgeguard";
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 200);
}

// @scope: error
// @suite: the short page
sub test_short_page {
  set obj.status = 662;
  set obj.response = "edgeguard";
  set req.http.Edgeguard-Closed = "d1; until=2027-01-15T08:00:00Z";
  set req.http.Edgeguard-Retry = "30";
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 503);
  assert.equal(obj.http.Edgeguard-Closed, "d1; until=2027-01-15T08:00:00Z");
  assert.equal(obj.http.Retry-After, "30");
  assert.equal(obj.http.Cache-Control, "no-store");
}

// @scope: error
// @suite: a stranger's error is left alone
sub test_error_of_others {
  set obj.status = 503;
  set obj.response = "Maintenance mode";
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 503);
  assert.equal(testing.state, "DELIVER");
}

// @scope: fetch
// @suite: a page is stored with the ceiling, and gets its group: the first byte of the MD5 of host and URL
sub test_fetch {
  set req.http.host = "www.example.com";
  set req.url = "/a?b=c";
  set beresp.status = 200;
  set beresp.ttl = 10s;
  testing.call_subroutine("vcl_fetch");
  assert.equal(beresp.stale_if_error, 604800s);
  assert.equal(beresp.http.Surrogate-Key, "eg-60");
}

// @scope: fetch
// @suite: a 404 is not, but has a group beside its own keys
sub test_fetch_404 {
  set beresp.status = 404;
  set beresp.ttl = 10s;
  set beresp.stale_if_error = 0s;
  set beresp.http.Surrogate-Key = "a neg-00";
  testing.call_subroutine("vcl_fetch");
  assert.equal(beresp.stale_if_error, 0s);
  assert.match(beresp.http.Surrogate-Key, "^a neg-00 eg-[0-9a-f]{2}\z");
}

// @scope: fetch
// @suite: never a second group
sub test_fetch_group {
  set beresp.http.Surrogate-Key = "a eg-0f b";
  testing.call_subroutine("vcl_fetch");
  assert.equal(beresp.http.Surrogate-Key, "a eg-0f b");
}

// @scope: fetch
// @suite: what the shield served stale is kept for a second, past the boilerplate's default TTL
sub test_fetch_marked {
  set beresp.status = 200;
  set beresp.ttl = 1000s;
  set beresp.stale_while_revalidate = 1000s;
  set beresp.http.Edgeguard-Stale = "error";
  testing.call_subroutine("vcl_fetch");
  assert.equal(beresp.ttl, 1s);
  assert.equal(beresp.stale_if_error, 60s);
  assert.equal(beresp.stale_while_revalidate, 0s);
}

// @scope: fetch
// @suite: a closed gate's answer is kept for the short page
sub test_fetch_closed {
  set req.http.Edgeguard-Tier = "edge";
  set beresp.status = 500;
  set beresp.http.Edgeguard-Closed = "d1";
  set beresp.http.Retry-After = "30";
  testing.call_subroutine("vcl_fetch");
  assert.equal(req.http.Edgeguard-Closed, "d1");
  assert.equal(req.http.Edgeguard-Retry, "30");
}
