"""Several keys: who has which, and whose error ends what."""

from __future__ import annotations

from nanogpt_images.distributed.keys import Keys, pace_name
from nanogpt_images.errors import AuthenticationError, BudgetExceededError, OutputError


def test_workers_share_the_keys_out() -> None:
    """Five workers have two keys in turn."""
    keys = Keys(2)
    assert [keys.of_worker(number) for number in range(5)] == [0, 1, 0, 1, 0]


def test_a_keys_error_ends_the_job_with_the_last_key() -> None:
    """The first key's budget stops that key; the second one's refusal stops the job."""
    keys = Keys(2)
    assert keys.fail(0, BudgetExceededError("spent")) is None
    assert (keys.is_retired(0), keys.is_retired(1)) == (True, False)
    last = AuthenticationError("refused", status=401)
    assert keys.fail(1, last) is last
    assert keys.retired == {0, 1}


def test_any_other_error_ends_the_job() -> None:
    """A full disk is nobody's key's fault."""
    keys = Keys(2)
    error = OutputError("full")
    assert keys.fail(0, error) is error
    assert not keys.is_retired(0)


def test_each_key_has_a_window_of_its_own() -> None:
    """The first one's is that of local batches in the same directory."""
    assert [pace_name(".pace", key) for key in range(2)] == [".pace", ".pace-1"]
