"""Switches for the questions about the edge that Fastly's documentation leaves open.

Each default is the answer that the documentation states or implies.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Beliefs:
    """One field, one open question. Set over the control port: `POST /switches {"name": true}`."""

    stale_exists_obeys_limit: bool = True
    """`stale.exists` is not set for an object beyond req.max_stale_if_error. (Else only the object's own limit counts
    for stale.exists, and a deliver_stale then finds nothing that it may deliver.)"""

    sie_survives_304: bool = False
    """A 304 that states a freshness, but no stale-if-error, leaves the object's own stale-if-error as it was. (Else it
    becomes 0, as the documentation says of the TTL.) A 304 that states no freshness renews both."""

    keys_survive_304: bool = False
    """Surrogate keys in a 304 do not replace the object's keys. (Else the keys that vcl_fetch had added are lost.)"""

    vcl_miss_before_conditional_fetch: bool = True
    """vcl_miss runs for a stale object that has a validator, so a deliver_stale there avoids the fetch, as in "Fastly:
    guides/concepts/cache/stale". (Else the conditional fetch comes first, without vcl_miss, as in older texts.)"""

    deliver_stale_with_nothing_is_error: bool = True
    """deliver_stale without a stale object that may be delivered ends as 503 "No stale object available". (Else miss
    fetches, fetch delivers the origin's answer and error its own.)"""

    limit_set_after_lookup_counts: bool = True
    """req.max_stale_if_error acts also when set in miss, fetch or error. (Else its value at the lookup counts.)"""

    error_before_lookup_sees_stale: bool = False
    """stale.exists may be set in vcl_error for an error raised in vcl_recv, though nothing was looked up."""

    stale_told_after_cluster_hop: bool = True
    """resp.stale is set also when a neighbour within the cluster served the stale copy. (Else only fastly_info.state
    says that it is stale.)"""

    conditions_judged_after_deliver: bool = True
    """The validators that vcl_deliver leaves decide whether an answer becomes a 304. (Else the object's validators
    decide.)"""

    surrogates_told_in_304: bool = True
    """A 304 from a shield to the node in front carries Surrogate-Control, as the whole answer does. (Else it has only
    the headers that visitors get.)"""

    soft_purge_starts_staleness: bool = True
    """After a soft purge, staleness is counted from the purge. (Else from when the object was stored, as if its TTL
    had been 0.)"""

    collapse_before_miss: bool = True
    """A request waits at the lookup, before vcl_miss, while another request fetches its object. (Else it waits only
    when it is about to fetch.)"""

    batch_is_atomic: bool = True
    """A batch of dictionary items with one impossible operation changes nothing. (Else the operations before it stay
    done.)"""
