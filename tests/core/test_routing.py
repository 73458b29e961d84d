"""Which endpoints an event is owed to."""

import pytest

from hookpost.core.routing import Routes
from hookpost.core.settings import Subscription


def subscription(name: str, *endpoints: str, **fields: object) -> Subscription:
    return Subscription(name=name, endpoints=endpoints, **fields)  # type: ignore[arg-type]


def test_endpoints_come_in_file_order_and_once() -> None:
    routes = Routes(
        [
            subscription("one", "crm", "audit", events=("invoice.**",)),
            subscription("two", "audit", "mail"),
            subscription("three", "early", events=("invoice.paid",)),
        ]
    )

    assert routes.endpoints("billing", "invoice.paid") == ("crm", "audit", "mail", "early")
    assert routes.endpoints("billing", "order.sent") == ("audit", "mail")


def test_a_subscription_without_sources_takes_all_of_them() -> None:
    routes = Routes(
        [subscription("all", "audit"), subscription("some", "crm", sources=("billing",))]
    )

    assert routes.endpoints("billing", "a") == ("audit", "crm")
    assert routes.endpoints("github", "a") == ("audit",)


def test_an_event_that_nobody_wants_is_owed_to_nobody() -> None:
    assert Routes([]).endpoints("billing", "a") == ()
    assert Routes([subscription("s", "crm", events=("b",))]).endpoints("billing", "a") == ()


def test_two_patterns_of_one_subscription_give_one_delivery() -> None:
    routes = Routes([subscription("s", "crm", events=("a.*", "*.b", "a.b"))])

    assert routes.endpoints("billing", "a.b") == ("crm",)


def test_a_wildcard_subscription_does_not_get_the_gateways_own_events() -> None:
    routes = Routes([subscription("s", "crm"), subscription("o", "ops", events=("hookpost.**",))])

    assert routes.endpoints("hookpost", "hookpost.endpoint.gone") == ("ops",)


def test_only_the_subscriptions_that_might_match_are_compared() -> None:
    routes = Routes(
        [subscription(f"s{n}", f"e{n}", events=(f"kind{n}.created",)) for n in range(1000)]
    )

    assert routes.endpoints("billing", "kind7.created") == ("e7",)
    assert len(routes._by_first["kind7"]) == 1


def test_a_pattern_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"inv\*"):
        Routes([subscription("s", "crm", events=("inv*",))])
