"""Each important line of the policy is broken once. Then visitors get other answers, and a scenario or case fails."""

from __future__ import annotations

import re
from dataclasses import replace
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple

import pytest

from edgeguard.edge.fastly.policy import NAME_PREFIX
from edgeguard.errors import EdgeUnavailable
from tests.edge.cases import CASES
from tests.edge.fastly.scenarios import PASS, SCENARIOS, STRANGERS

if TYPE_CHECKING:
    from tests.edge.standin_edge import StandinEdge


class Broken(NamedTuple):
    snippet: str
    old: str
    new: str
    noticed_by: str


# In the policy as rendered for a base of 60 s and a ceiling of 3600 s.
BROKEN = [
    Broken(snippet, old, new, noticed_by)
    for noticed_by, rows in {
        "a claim that ends by itself": [
            ("init", "set var.eg_now = std.atoi(now.sec);", ""),
            ("init", "var.eg_until > var.eg_now && ", ""),
        ],
        "a_claim_in_any_slot_raises_the_grace": [
            ("init", "set var.eg_far = var.eg_now;", ""),
            ("init", "set var.eg_far += 90000;", ""),
            ("init", 'table.lookup(edgeguard, "deploy0", "")', '""'),
            ("init", 'table.lookup(edgeguard, "support8", "")', '""'),
            ("init", "set var.eg_until = std.atoi(re.group.1);", ""),
            ("init", "set var.eg_asks = std.atoi(re.group.2);", ""),
            ("init", "set var.eg_grace = var.eg_asks;", ""),
        ],
        "a_claim_that_would_last_too_long_counts_for_nothing": [
            ("init", "+= 90000", "+= 900000"),
            ("init", "&& var.eg_until < var.eg_far", ""),
        ],
        "stale and 5xx": [
            ("init", "set var.eg_grace = 60;", ""),
            ("fetch", "return(deliver_stale);", ""),
            ("fetch_ceiling", "set beresp.stale_if_error = 3600s;", ""),
        ],
        "whatever_fails_after_our_miss_leads_to_stale": [
            ("miss_asks", 'set req.http.Edgeguard-Asked = "miss";', ""),
        ],
        "beyond the grace": [
            ("init", "set var.eg_grace = 60;", "set var.eg_grace = 600;"),
            ("init", "set req.max_stale_if_error = var.eg_grace;", ""),
        ],
        "a_visitor_cannot_hold": [
            ("init", 'set req.http.Edgeguard-Hold = "0";', ""),
        ],
        "a_stale_answer_is_told_by_who_served_it": [
            ("deliver", "(!req.http.Edgeguard-Asked && req.http", "(req.http"),
        ],
        "a hold that would last too long": [
            ("init", "set var.eg_near = var.eg_now;", ""),
            ("init", "set var.eg_near += 3600;", ""),
            ("init", " && var.eg_hold < var.eg_near", ""),
        ],
        "no_claim_gets_more_than_the_ceiling": [
            ("init", "if (var.eg_grace > 3600) {", "if (var.eg_grace > 9999999) {"),
            ("init", "set var.eg_grace = 3600;", ""),
        ],
        "the_status_tells_what_this_node_sees": [
            ("init", "set req.http.Edgeguard-Grace = var.eg_grace;", ""),
            ("recv", 'error 661 "edgeguard";', ""),
            ("error", "obj.status == 661 && ", "false && "),
            ("error", "set obj.status = 200;", ""),
            ("error", 'set obj.http.Content-Type = "text/plain; charset=utf-8";', ""),
            ("error", 'set obj.http.Cache-Control = "no-store";', ""),
        ],
        "on_hold_nothing_is_revalidated_in_the_background": [
            ("init", 'if (req.http.Edgeguard-Hold == "1" || ', "if ("),
            ("init", "set req.max_stale_while_revalidate = 0s;", ""),
        ],
        "hold": [
            ("init", 'table.lookup(edgeguard, "deploy1", "")', '""'),
            ("init", "set var.eg_hold = std.atoi(re.group.3);", ""),
            ("init", 'set req.http.Edgeguard-Hold = "1";', ""),
            ("miss", "return(deliver_stale);", ""),
            ("deliver", 'if(req.http.Edgeguard-Asked == "held"', "if(false"),
        ],
        "garbage_is_shown_as_it_is_and_counts_for_nothing": [
            ("init", '"^([0-9]{10}):([0-9]{1,7}):([0-9]{10})', '"([0-9]{10}):([0-9]{1,7}):([0-9]{10})'),
            ("init", '[a-z0-9]{4,12}\\z"', '[a-z0-9]{4,12}"'),
            ("init", "[0-9]{1,7}", "[0-9]{1,9}"),
            ("error", 'urlencode(table.lookup(edgeguard, "deploy0", ""))', 'table.lookup(edgeguard, "deploy0", "")'),
        ],
        "a claim below the base": [
            ("init", "if (var.eg_asks > var.eg_grace) {", "if (var.eg_asks > 0) {"),
            ("init", " && var.eg_asks > var.eg_grace) {", ") {"),
        ],
        "a hold that ends": [
            ("init", "if (var.eg_hold > var.eg_now && ", "if (var.eg_hold > 0 && "),
            ("miss", 'req.http.Edgeguard-Hold == "1" && ', ""),
        ],
        "on_hold_a_page_beyond_the_grace_is_fetched": [
            ("miss", " && req.restarts == 0", ""),
            ("miss", 'set req.http.Edgeguard-Asked = "held";', ""),
            ("error", 'if (req.http.Edgeguard-Asked == "held" && req.restarts == 0) {', "if (false) {"),
            ("error", "restart;", ""),
        ],
        "a_strangers_error_stays_what_it_is": [
            ("recv", "unset req.http.Edgeguard-Asked;", ""),
            ("error", '(req.http.Edgeguard-Asked == "miss"', "(true"),
            ("error", "obj.status == 503 && stale.exists", "stale.exists"),
            ("error", '"(?i)^(?:all backends', '"(?i)(?:all backends'),
            ("error", ')\\z"', ')"'),
        ],
        "a_limit_known_at_the_lookup_is_enough": [
            ("recv", "call edgeguard_grace;", ""),
        ],
        "a_strangers_purge_takes_no_copy_away_while_a_claim_is_in_force": [
            ("recv_purges", 'set req.http.Fastly-Purge-Requires-Auth = "1";', ""),
            ("recv_purges", 'req.http.Edgeguard-Hold == "1" || ', ""),
            ("recv_purges", "std.atoi(req.http.Edgeguard-Grace) > 60", "true"),
            ("recv_purges", " || std.atoi(req.http.Edgeguard-Grace) > 60", ""),
        ],
        "the_status_is_at_its_path_only": [
            ("recv", 'req.url.path == "/edgeguard-status"', 'req.url ~ "/edgeguard-status"'),
        ],
        "the_limit_is_set_anew_in_miss": [
            ("miss", "call edgeguard_grace;", ""),
        ],
        "the_origin_sees_none_of_our_headers": [
            ("miss", "unset bereq.http.Edgeguard-Grace;", ""),
            ("miss", "unset bereq.http.Edgeguard-Hold;", ""),
            ("miss", "unset bereq.http.Edgeguard-Show;", ""),
            ("miss", "unset bereq.http.Edgeguard-Tier;", ""),
            ("pass", "unset bereq.http.Edgeguard-Grace;", ""),
            ("pass", "unset bereq.http.Edgeguard-Hold;", ""),
            ("pass", "unset bereq.http.Edgeguard-Show;", ""),
            ("pass", "unset bereq.http.Edgeguard-Tier;", ""),
        ],
        "on_hold_a_page_nobody_has_is_fetched": [
            ("miss", "&& stale.exists ", ""),
        ],
        "stale and refused": [
            ("error", "obj.status == 503", "obj.status == 500"),
            ("error", "return(deliver_stale);", ""),
        ],
        "a_request_passed_in_miss_never_gets_an_anonymous_page": [
            ("pass", 'set req.http.Edgeguard-Asked = "pass";', ""),
            ("pass", "unset bereq.http.Edgeguard-Asked;", ""),
            ("fetch", ' && req.http.Edgeguard-Asked != "pass"', ""),
        ],
        "the_limit_is_set_anew_in_fetch": [
            ("fetch", "call edgeguard_grace;", ""),
        ],
        "every_kind_of_5xx_leads_to_stale": [
            ("fetch", "beresp.status >= 500", "beresp.status > 500"),
            ("fetch", "beresp.status < 600", "beresp.status < 599"),
        ],
        "stale and 404": [
            ("fetch", "beresp.status >= 500", "beresp.status >= 400"),
        ],
        "an_error_beyond_the_5xx_stays_what_it_is": [
            ("fetch", " && beresp.status < 600", ""),
        ],
        "a_conditional_fetch_before_miss_may_fail_too": [
            ("fetch", 'Edgeguard-Asked != "pass"', 'Edgeguard-Asked == "miss"'),
            ("error", "(!req.http.Edgeguard-Asked || ", "("),
        ],
        "a_5xx_of_an_open_site_stays_what_it_is": [
            ("fetch", "if (stale.exists) {", "if (true) {"),
            ("recv", "unset req.http.Edgeguard-Closed;", ""),
            ("fetch", "beresp.http.Edgeguard-Closed && ", ""),
        ],
        "a_closed_gate_without_a_copy_becomes_a_short_page": [
            ("fetch", "set req.http.Edgeguard-Closed = beresp.http.Edgeguard-Closed;", ""),
            ("fetch", "set req.http.Edgeguard-Retry = beresp.http.Retry-After;", ""),
            ("fetch", "if (req.http.Edgeguard-Closed) {", "if (false) {"),
            ("fetch", 'error 662 "edgeguard";', ""),
            ("error", "obj.status == 662 && ", "false && "),
            ("error", "set obj.status = 503;", ""),
            ("error", 'set obj.http.Content-Type = "text/html; charset=utf-8";', ""),
            (
                "error",
                '  set obj.http.Cache-Control = "no-store";\n  set obj.http.Edgeguard',
                "  set obj.http.Edgeguard",
            ),
            ("error", "set obj.http.Edgeguard-Closed = req.http.Edgeguard-Closed;", ""),
            ("error", "set obj.http.Retry-After = req.http.Edgeguard-Retry;", ""),
            ("error", '  synthetic {"<!doctype', '  synthetic "" {"<!dectype'),
        ],
        "the_short_page_waits_for_no_longer_than_the_gate_says": [
            ("fetch", "if (beresp.http.Retry-After) {", "if (true) {"),
            ("error", "if (req.http.Edgeguard-Retry) {", "if (true) {"),
        ],
        "a_visitor_cannot_name_the_time_to_retry": [
            ("recv", "unset req.http.Edgeguard-Retry;", ""),
        ],
        "the_short_page_is_there_too_if_stale_was_promised_in_vain": [
            ("fetch", 'set req.http.Edgeguard-Asked = "stale";', ""),
            ("error", 'req.http.Edgeguard-Asked == "stale" && ', "false && "),
        ],
        "a_strangers_662_is_not_our_short_page": [
            ("error", 'obj.status == 662 && obj.response == "edgeguard"', "obj.status == 662"),
        ],
        "every_object_gets_one_of_256_groups_beside_its_own_keys": [
            ("fetch_group", "if (!beresp.http.Surrogate-Key) {", "if (false) {"),
            ("fetch_group", 'set beresp.http.Surrogate-Key = "eg-" ', 'set beresp.http.Surrogate-Key = "eg-0" '),
            ("fetch_group", 'beresp.http.Surrogate-Key " eg-"', 'beresp.http.Surrogate-Key "eg-"'),
            ("fetch_group", "(?:^| )eg-", "eg-"),
            ("fetch_group", "[0-9a-f]{2}", "[0-9a-z]{2}"),
            ("fetch_group", "(?: |\\z)", ""),
        ],
        "groups_are_of_one_size_more_or_less": [
            ("fetch_group", "req.http.host req.url", "req.http.host"),
            ("fetch_group", "req.http.host req.url", "req.url"),
        ],
        "an_origin_may_choose_the_group": [
            ("fetch_group", '!~ "(?:^| )eg-[0-9a-f]{2}(?: |\\z)"', '!~ "nothing"'),
            ("fetch_group", "(?:^| )eg-", "(?:^)eg-"),
            ("fetch_group", "(?: |\\z)", "(?: )"),
        ],
        "no_key_is_lost_for_the_group": [
            ("fetch_group", 'std.collect(beresp.http.Surrogate-Key, " ");', ""),
            ("fetch_group", "<= 16378", "<= 16384"),
            ("fetch_group", "<= 16378", "<= 16377"),
        ],
        "what_is_passed_has_no_group": [
            ("fetch", 'if (req.http.Edgeguard-Asked == "miss") {', "if (true) {"),
            ("fetch_group", 'if (req.http.Edgeguard-Asked != "pass") {', "if (true) {"),
        ],
        "a_shield_serves_stale_for_a_node_without_a_copy": [
            ("fetch_ceiling", "set beresp.ttl = 1s;", ""),
            ("fetch_ceiling", "set beresp.stale_if_error = 60s;", ""),
            ("fetch_ceiling", "if (stale.exists) {", "if (true) {"),
            ("deliver", 'req.http.Edgeguard-Tier != "shield" && ', ""),
        ],
        "what_the_shield_served_stale_is_asked_for_again_at_once": [
            ("fetch_ceiling", "if (beresp.http.Edgeguard-Stale) {", "if (false) {"),
            ("fetch_ceiling", 'set beresp.http.Surrogate-Control = "max-age=1";', ""),
            ("deliver", 'if (req.http.Edgeguard-Tier == "shield") {', "if (false) {"),
            ("deliver", "unset resp.http.ETag;", ""),
            ("deliver", "unset resp.http.Last-Modified;", ""),
            ("deliver", "set resp.http.Edgeguard-Stale = if(", "set resp.http.X-Other = if("),
        ],
        "an_edge_nodes_own_copy_survives_what_the_shield_served_stale": [
            ("fetch_ceiling", "set beresp.cacheable = false;", ""),
        ],
        "what_the_shield_served_stale_is_not_kept_for_long": [
            ("fetch_ceiling", "set beresp.stale_while_revalidate = 0s;", ""),
        ],
        "a_shield_revalidates_nothing_in_the_background": [
            ("init", ' || req.http.Edgeguard-Tier == "shield"', ""),
        ],
        "a_shield_makes_no_page_of_its_own": [
            ("fetch", ' && req.http.Edgeguard-Tier == "edge"', ""),
        ],
        "a_cluster_of_nodes_makes_no_difference": [
            ("deliver", '(!req.http.Edgeguard-Asked && req.http.Edgeguard-Hold == "1")', "false"),
            ("recv", 'set req.http.Edgeguard-Tier = if(fastly.ff.visits_this_service == 0, "edge", "shield");', ""),
        ],
        "a_cluster_of_nodes_makes_no_difference_without_a_restart": [
            ("fetch", 'req.http.Edgeguard-Tier == "edge"', "fastly.ff.visits_this_service == 0"),
        ],
        "a_neighbours_stale_answer_is_told_as_such": [
            ("deliver", ' || fastly_info.state ~ "STALE"', ""),
        ],
        "the_status_is_that_of_the_node_that_visitors_meet": [
            ("recv", 'req.http.Edgeguard-Tier == "edge" && ', 'req.http.Edgeguard-Tier == "shield" && '),
        ],
        "pages_and_redirects_get_the_ceiling": [
            ("fetch_ceiling", "set var.eg_promised = 60;", ""),
            ("fetch_ceiling", "beresp.status == 200", "beresp.status == 299"),
            ("fetch_ceiling", "beresp.status == 203", "beresp.status == 299"),
            ("fetch_ceiling", "beresp.status == 300", "beresp.status == 299"),
            ("fetch_ceiling", "beresp.status == 301", "beresp.status == 299"),
            ("fetch_ceiling", "beresp.status == 302", "beresp.status == 299"),
            ("fetch_ceiling", "beresp.status == 410", "beresp.status == 299"),
            ("fetch_ceiling", "= 3600s", "= 60s"),
        ],
        "the_ceiling_is_told_to_the_node_in_front": [
            ("fetch_ceiling", 'std.collect(beresp.http.Surrogate-Control, ",");', ""),
            ("fetch_ceiling", '"(?i)stale-if-error=[^,]*"', '"(?i)stale-if-error=[0-9]+"'),
            ("fetch_ceiling", "if (!beresp.http.Surrogate-Control) {", "if (false) {"),
            ("fetch_ceiling", 'set beresp.http.Surrogate-Control = "stale-if-error=3600";', ""),
            ("fetch_ceiling", '~ "(?i)stale-if-error=")', '~ "stale-if-error=")'),
            ("fetch_ceiling", "set beresp.http.Surrogate-Control = regsub(", "set beresp.http.X-Other = regsub("),
            ("fetch_ceiling", 'beresp.http.Surrogate-Control ", stale', 'beresp.http.X-Other ", stale'),
            ("fetch_ceiling", "  } else {\n    set", "  } else if (false) {\n    set"),
        ],
        "the_ceiling_stays_inside_the_service": [
            ("deliver", 'std.collect(resp.http.Surrogate-Control, ",");', ""),
            ("deliver", 'if (resp.http.Surrogate-Control ~ "(?i)stale', 'if (resp.http.X-Nothing ~ "(?i)stale'),
            ("deliver", '"(?i)\\s*stale', '"\\s*stale'),
            ("deliver", "=[^0-9,]?3600[^0-9,]?(", "=3600("),
            ("deliver", "3600[^0-9,]?(?:,|\\z)", "3600"),
            (
                "deliver",
                'regsuball(resp.http.Surrogate-Control, "^\\s+|\\s*,\\s*\\z", "")',
                "resp.http.Surrogate-Control",
            ),
            ("deliver", 'if (resp.http.Surrogate-Control == "") {', "if (false) {"),
            ("deliver", "unset resp.http.Surrogate-Control;", ""),
        ],
        "a_shields_304_leaves_a_page_its_ceiling": [
            ("deliver", 'if (req.http.Edgeguard-Tier != "shield") {', "if (true) {"),
            ("fetch_ceiling", 'set beresp.http.Surrogate-Control = "stale-if-error=3600";', ""),
        ],
        "an_origin_may_promise_less_than_the_base": [
            ("fetch_ceiling", 'Surrogate-Control ~ "(?i)stale', 'X-Nothing ~ "(?i)stale'),
            ("fetch_ceiling", 'Cache-Control ~ "(?i)stale', 'X-Nothing ~ "(?i)stale'),
            ("fetch_ceiling", "(?i)stale-if-error", "stale-if-error"),
            ("fetch_ceiling", "set var.eg_promised = std.atoi(re.group.1);", ""),
            ("fetch_ceiling", "\n    && var.eg_promised >= 60", ""),
            ("fetch_ceiling", "stale-if-error=[^0-9,]?(", "stale-if-error=("),
        ],
        "a refusal in a second header": [
            ("fetch_ceiling", 'std.collect(beresp.http.Cache-Control, ",");', ""),
        ],
        "no-cache": [
            (
                "fetch_ceiling",
                '(beresp.http.Cache-Control !~ "(?i)no-cache',
                '(beresp.http.Cache-Control !~ "(?i)nothing',
            ),
        ],
        "no-cache for browsers alone": [
            ("fetch_ceiling", ' || beresp.http.Surrogate-Control ~ "(?i)max-age="', ""),
        ],
        "an_origins_refusal_stands_where_the_service_caches_it_all_the_same": [
            ("fetch_ceiling", "beresp.ttl > 0s", "beresp.ttl >= 0s"),
            ("fetch_ceiling", '    && beresp.http.Cache-Control !~ "(?i)(?:private|no-store)"\n', ""),
            ("fetch_ceiling", '    && beresp.http.Surrogate-Control !~ "(?i)(?:private|no-store|no-cache)"\n', ""),
            ("fetch_ceiling", "|no-cache)", ")"),
            ("fetch_ceiling", "no-cache(?:[^=]|\\z)", "no-cache"),
            ("fetch_ceiling", "    && !beresp.http.Set-Cookie\n", ""),
        ],
        "a 404": [
            ("fetch_ceiling", "beresp.status == 410", "beresp.status == 404"),
        ],
        "an_origin_that_promises_the_base_or_more_gets_the_ceiling": [
            ("fetch_ceiling", "var.eg_promised >= 60", "var.eg_promised > 60"),
        ],
        "the_limit_is_set_anew_in_error": [
            ("error", "call edgeguard_grace;", ""),
        ],
        "a_strangers_661_is_not_our_status": [
            ("error", ' && obj.response == "edgeguard"', ""),
        ],
        "a_refusal_without_a_copy_is_told_as_it_is": [
            ("error", "obj.status == 503 && stale.exists", "obj.status == 503"),
        ],
        "a_passed_request_never_gets_an_anonymous_page": [
            ("error", '(!req.http.Edgeguard-Asked || req.http.Edgeguard-Asked == "answered")', "true"),
        ],
        "an_error_of_a_strangers_miss_stays_what_it_is": [
            ("error", '(req.http.Edgeguard-Asked == "miss"', "(true"),
        ],
        "an_error_of_a_strangers_fetch_stays_what_it_is": [
            ("fetch", 'set req.http.Edgeguard-Asked = "answered";', ""),
        ],
        "an_answer_that_breaks_off_leads_to_stale": [
            ("error", ' || req.http.Edgeguard-Asked == "answered"', ""),
        ],
        "only_who_asks_is_told_of_a_stale_answer": [
            ("deliver", "unset resp.http.Edgeguard-Stale;", ""),
            ("deliver", ' && req.http.Edgeguard-Show != "edgeguard-status"', ""),
        ],
        "who_asks_is_told_whether_there_was_a_copy": [
            ("fetch", 'if (req.http.Edgeguard-Show == "edgeguard-status") {', "if (true) {"),
            ("fetch", "set beresp.http.Edgeguard-Copy = if(", "set beresp.http.X-Other = if("),
            ("fetch", 'if(stale.exists, "stale ", "none ")', '"stale "'),
            ("deliver", "unset resp.http.Edgeguard-Copy;", ""),
        ],
        "fresh": [
            ("deliver", 'if (resp.stale.is_error || fastly_info.state ~ "STALE") {', "if (true) {"),
            ("deliver", ' ~ "STALE"', ' ~ ""'),
        ],
    }.items()
    for snippet, old, new in rows
]

UNNOTICED = {
    "declare local": "without it the policy does not compile",
    'set obj.response = "': "for people only; HTTP/2 does not carry it",
    "return(deliver);": "the branches below it ask for a flag that neither the status nor the short page has",
    'set req.http.Edgeguard-Asked = "stale";': "against a loop, which this stand-in ends by itself; fetch's has a row",
    'set var.eg_item = table.lookup(edgeguard, "': "each slot is like its neighbour; see deploy0, deploy1 and support8",
    '" deploy1=" urlencode(': "as deploy0",
    '" support': "as deploy0",
    "synthetic ": "a line that is cut is no status; tests of reading it are elsewhere",
    '" grace="': "as synthetic",
    "sub edgeguard_grace {": "without it the policy does not compile",
}
"""Code that no row breaks, and why not."""


CHECKS = SCENARIOS | {case.name: case.holds for case in CASES}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.snippet}: {broken.old.strip()[:50]}")
def test_a_broken_line_is_noticed(standin_edge: StandinEdge, broken: Broken) -> None:
    snippets = [
        replace(one, content=one.content.replace(broken.old, broken.new))
        if one.name == NAME_PREFIX + broken.snippet
        else one
        for one in standin_edge.policy()
    ]
    assert snippets != list(standin_edge.policy()), "the row breaks nothing"
    standin_edge.install([*snippets, *STRANGERS.get(broken.noticed_by, (PASS,))])
    standin_edge.write({})
    # Besides a scenario's own words: no status that can be read, and a header that no answer may have.
    with pytest.raises((AssertionError, EdgeUnavailable, HTTPException)):
        CHECKS[broken.noticed_by](standin_edge)


def test_every_line_is_broken_by_a_row_or_excused(standin_edge: StandinEdge) -> None:
    left = []
    for one in standin_edge.policy():
        content = re.sub(r'{".*?"}', "a long string", one.content, flags=re.DOTALL)
        code = "\n".join(re.sub(r"(^|\s)#.*", "", line).rstrip() for line in content.splitlines())
        for broken in BROKEN:
            if NAME_PREFIX + broken.snippet == one.name:
                for line in filter(None, broken.old.split("\n")):
                    code = code.replace(line.strip(), "§")
        lines = [line.strip() for line in code.splitlines()]
        left += [f"{one.name}: {line}" for line in lines if re.search(r"[a-z]", line) and "§" not in line]
    assert [line for line in left if not any(excuse in line for excuse in UNNOTICED)] == []
