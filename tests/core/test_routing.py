"""Which endpoints an event is owed to."""

import pytest

from hookpost.core.routing import Routes
from hookpost.core.settings import Subscription


def subscription(name: str, *endpoints: str, **fields: object) -> Subscription:
    return Subscription(name=name, endpoints=endpoints, **fields)  # type: ignore[arg-type]


def names(routes: Routes, source: str, event_type: str) -> list[str]:
    return [one.name for one in routes.wanting(source, event_type)]


def test_subscriptions_come_in_file_order_and_once() -> None:
    routes = Routes(
        [
            subscription("one", "crm", "audit", events=("invoice.**",)),
            subscription("two", "audit", "mail"),
            subscription("three", "early", events=("invoice.paid",)),
        ]
    )

    assert names(routes, "billing", "invoice.paid") == ["one", "two", "three"]
    assert names(routes, "billing", "order.sent") == ["two"]


def test_a_subscription_without_sources_takes_all_of_them() -> None:
    routes = Routes(
        [subscription("all", "audit"), subscription("some", "crm", sources=("billing",))]
    )

    assert names(routes, "billing", "a") == ["all", "some"]
    assert names(routes, "github", "a") == ["all"]


def test_an_event_may_be_wanted_by_nobody() -> None:
    assert Routes([]).wanting("billing", "a") == ()
    assert Routes([subscription("s", "crm", events=("b",))]).wanting("billing", "a") == ()


def test_two_patterns_of_one_subscription_find_it_once() -> None:
    routes = Routes([subscription("s", "crm", events=("a.*", "*.b", "a.b"))])

    assert names(routes, "billing", "a.b") == ["s"]


def test_a_wildcard_subscription_does_not_get_the_gateways_own_events() -> None:
    routes = Routes([subscription("s", "crm"), subscription("o", "ops", events=("hookpost.**",))])

    assert names(routes, "hookpost", "hookpost.endpoint.gone") == ["o"]


def test_only_the_patterns_that_begin_as_the_type_does_are_compared() -> None:
    routes = Routes(
        [
            subscription(f"s{n}", "crm", events=(f"tenant.kind{n}.*", f"*.made{n}"))
            for n in range(1000)
        ]
    )
    steps = 0
    for node in (type(routes._root),):
        step = node.after

        def counted(self: object, segment: str, step: object = step) -> list[object]:
            nonlocal steps
            steps += 1
            return step(self, segment)  # type: ignore[operator,no-any-return]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(routes._root), "after", counted)
        assert names(routes, "billing", "tenant.kind7.created") == ["s7"]
    assert steps < 10


def test_a_pattern_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"inv\*"):
        Routes([subscription("s", "crm", events=("inv*",))])
