"""The own tests of Fastly's Go client, as they are, run live against the stand-in.

The client ships them with recordings; VCR_DISABLE has them ask the API instead.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.standin.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.conftest import Standin

PROGRAM = Path(__file__).parent.parent.parent / ".tools" / "bin" / "goclient"
LIVE = (
    "Versions",
    "Snippets",
    "Dictionaries",
    "DictionaryItems",
    "GetDictionaryInfo",
    "BatchModifyDictionaryItems_Create",
    "BatchModifyDictionaryItems_Delete",
    "BatchModifyDictionaryItems_Update",
    "BatchModifyDictionaryItems_Upsert",
    "Settings",
    "Purge",
    "PurgeKey",
    "PurgeKeys",
    "PurgeAll",
    "ListTokens",
    "ListCustomerTokens",
    "GetTokenSelf",
    "CreateToken",
    "DeleteToken",
    "CreateAndBulkDeleteTokens",
    "UsersCurrent",
    "Backends",
    "HealthChecks",
    "Domains",
    "Conditions",
    "Headers",
    "CacheSettings",
    "RequestSettings",
    "VCLs",
    "Services",
    "Services_Compute",
)
COMPUTE = (
    "Versions_Compute",
    "Backends_Compute",
    "HealthChecks_Compute",
    "PurgeKey_Compute",
    "PurgeKeys_Compute",
    "PurgeAll_Compute",
)
"""The same for a Compute service, which the stand-in keeps in its API only."""
SCRUBBED = "X" * 22
"""The id of a customer and of a token in the client's tests, in place of the real ones."""


@pytest.fixture(autouse=True)
def weeded(standin: Standin) -> Iterator[None]:
    yield
    standin.control.delete("/plants")


def run(standin: Standin, *names: str, **environment: str) -> set[str]:
    """Run these tests, one at a time since some count services. Returns those that pass; none may fail."""
    if not PROGRAM.exists():
        sentence = "the tests of Fastly's Go client are not built; scripts/tools builds them"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    told = subprocess.run(
        [PROGRAM, "-test.v", "-test.parallel=1", f"-test.run=^TestClient_({'|'.join(names)})$"],
        check=False,
        env={
            "VCR_DISABLE": "1",
            "FASTLY_API_URL": standin.api_url,
            "FASTLY_API_KEY": TOKEN,
            "FASTLY_TEST_DELIVERY_SERVICE_ID": standin.service_id,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    ended = re.findall(r"^--- (\w+): TestClient_(\w+)", told.stdout, re.MULTILINE)
    assert told.returncode == 0, told.stdout + told.stderr
    return {name for how, name in ended if how == "PASS"}


def test_its_own_tests_pass(standin: Standin) -> None:
    """One token and the customer have the ids that the client's tests name."""
    standin.set("plants", customer=SCRUBBED, tokens={"deleted by its test": {"id": SCRUBBED}})
    assert run(standin, *LIVE) == set(LIVE)


def test_its_own_tests_of_a_compute_service_pass(standin: Standin) -> None:
    service = standin.api.post("/service", data={"name": "compute", "type": "wasm"}).json()["id"]
    assert run(standin, *COMPUTE, FASTLY_TEST_COMPUTE_SERVICE_ID=service) == set(COMPUTE)


def test_a_token_deletes_itself(standin: Standin) -> None:
    standin.set("plants", tokens={"deletes itself": {}})
    assert run(standin, "DeleteTokenSelf", FASTLY_API_KEY="deletes itself") == {"DeleteTokenSelf"}
