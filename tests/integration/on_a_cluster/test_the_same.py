"""A sample of every purpose's tests, run a second time on a cluster.

Imported, so that they are collected here as well, with this folder's servers. All of them run on a
cluster by ``make test-cluster``.
"""

from __future__ import annotations

from pathlib import Path

from coordination import keys
from coordination.rate_limit import LimitRequest, RateLimiter
from tests.caching import cache_process
from tests.integration.test_breakers import (
    fleet,
    test_after_thirty_seconds_one_trial_decides,
    test_fifty_at_once_in_several_processes_get_one_trial,
)
from tests.integration.test_cache_expiry import (
    test_a_filler_learns_how_long_ago_its_answer_was_last_voided,
    test_a_filler_that_died_over_an_expired_entry_passes_it_on,
)
from tests.integration.test_cache_filling import (
    test_a_dead_fillers_lease_passes_on,
    test_a_failing_fill_gives_its_lease_back,
    test_a_refresh_that_ends_after_a_voiding_is_refused,
    test_a_tombstone_set_together_with_a_new_generation_is_not_served,
)
from tests.integration.test_outbox_work import (
    resources,
    test_a_due_row_voids_and_warms_what_it_changed,
    test_the_sweep_sends_as_many_hints_as_needed_within_bounds,
)
from tests.integration.test_rate_limit import (
    limiter,
    test_the_limit_is_reached_exactly_and_rejected_requests_are_not_counted,
    test_the_worked_example_is_rejected,
)
from tests.integration.test_upkeep_processes import (
    environment,
    test_the_line_of_a_job_carries_the_request_that_asked_for_it,
)
from tests.integration.test_webhook_refusals import plane, test_the_last_twenty_are_kept_for_a_day
from tests.integration.tokens.conftest import server, settings, stores
from tests.integration.tokens.test_tokens import (
    test_the_first_caller_fetches_and_all_others_share,
    test_two_refreshers_at_once_ask_once,
)
from tests.integration.tokens.test_tokens_fenced import (
    test_a_late_writer_takes_nobodys_lock,
    test_the_older_of_two_tokens_never_replaces_the_newer,
)
from tests.servers import PrivateRedis

__all__ = [
    "environment",
    "fleet",
    "limiter",
    "plane",
    "resources",
    "server",
    "settings",
    "stores",
    "test_a_dead_fillers_lease_passes_on",
    "test_a_due_row_voids_and_warms_what_it_changed",
    "test_a_failing_fill_gives_its_lease_back",
    "test_a_filler_learns_how_long_ago_its_answer_was_last_voided",
    "test_a_filler_that_died_over_an_expired_entry_passes_it_on",
    "test_a_late_writer_takes_nobodys_lock",
    "test_a_refresh_that_ends_after_a_voiding_is_refused",
    "test_a_tombstone_set_together_with_a_new_generation_is_not_served",
    "test_after_thirty_seconds_one_trial_decides",
    "test_fifty_at_once_in_several_processes_get_one_trial",
    "test_the_first_caller_fetches_and_all_others_share",
    "test_the_last_twenty_are_kept_for_a_day",
    "test_the_limit_is_reached_exactly_and_rejected_requests_are_not_counted",
    "test_the_line_of_a_job_carries_the_request_that_asked_for_it",
    "test_the_older_of_two_tokens_never_replaces_the_newer",
    "test_the_sweep_sends_as_many_hints_as_needed_within_bounds",
    "test_the_worked_example_is_rejected",
    "test_two_refreshers_at_once_ask_once",
]


async def test_deliveries_marked_at_once_are_seen_with_their_limits(
    tmp_path: Path, fresh_cache_redis: PrivateRedis
) -> None:
    """One batch's marks lie on all nodes, and each is found beside its partner's counter."""
    seen = {keys.webhook_seen("hill", f"delivery-{number}"): number for number in range(30)}
    async with cache_process(tmp_path, fresh_cache_redis, cache_timeout_ms=2_000) as cache:
        marked = await cache.plane.run(
            "mark", list(seen), [60_000, *(b"%d" % number for number in seen.values())]
        )
        assert marked == len(seen)
        limiter = RateLimiter(cache.plane)
        for key, number in seen.items():
            verdict, value = await limiter.check_and_read(LimitRequest("hill", 100, 60), key)
            assert verdict is not None
            assert (verdict.allowed, value) == (True, b"%d" % number)
