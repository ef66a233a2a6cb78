"""What is believed about a node, and how well it is vouched for."""

from __future__ import annotations

import pytest

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.resource import Assurance
from bailiwick.residency.dimensions import Dimension
from bailiwick.residency.facts import Fact, NodeFacts, Standing, Unknown, declared, gather, gather_all
from bailiwick.residency.nodes import read_node
from bailiwick.residency.provenance import with_provenance
from bailiwick.residency.verdict import Reason
from tests.unit.residency.given import FRANKFURT, NOW, VIRGINIA, accelerator, day, facts, node, statement

DECLARED, ASSERTED, VERIFIED = Assurance.DECLARED, Assurance.ASSERTED, Assurance.VERIFIED


def known(answer: Fact | Unknown) -> tuple[str, Assurance, str]:
    assert isinstance(answer, Fact), answer
    return answer.jurisdiction, answer.assurance, answer.by


def unknown(answer: Fact | Unknown) -> Reason:
    assert isinstance(answer, Unknown), answer
    return answer.reason


class TestWhoSaysSo:
    def test_nobody_so_nothing_is_known(self) -> None:
        lonely = facts()
        assert unknown(lonely.place) is Reason.PLACE_UNKNOWN
        assert unknown(lonely.control) is Reason.CONTROL_UNKNOWN
        for dimension in (Dimension.BRAND, Dimension.MANUFACTURE, Dimension.DESIGN):
            assert unknown(lonely.answer(dimension)) is Reason.ORIGIN_UNKNOWN
        assert not lonely.problems
        assert lonely.next_change is None
        assert lonely.name == "n1"

    def test_the_cloud_provider_asserts_place_and_control(self) -> None:
        cloud = facts(provider_id=FRANKFURT)
        assert known(cloud.place) == ("DE", ASSERTED, "providerID: aws eu-central-1")
        assert known(cloud.control) == ("US", ASSERTED, "providerID: aws eu-central-1")
        assert unknown(cloud.brand) is Reason.ORIGIN_UNKNOWN
        assert cloud.next_change is None

    def test_an_operator_under_two_laws_is_under_both(self) -> None:
        sovereign = facts(provider_id="aws:///eusc-de-east-1a/i-0123456789abcdef0")
        assert isinstance(sovereign.control, Fact)
        assert sovereign.control.jurisdictions == ("DE", "US")

    def test_where_the_operator_is_not_certain_only_the_place_is_asserted(self) -> None:
        saudi = facts(provider_id="me-central-1.i-abc")
        assert known(saudi.place)[0] == "SA"
        assert unknown(saudi.control) is Reason.CONTROL_UNKNOWN

    def test_a_statement_declares_whatever_it_states(self) -> None:
        origin = {"brand": ["KR"], "manufacture": ["TW", "KR"]}
        stated = facts(statement(place="DE-BY", control="CH", origin=origin))
        assert known(stated.place) == ("DE-BY", DECLARED, "NodeStatement s1")
        assert known(stated.control) == ("CH", DECLARED, "NodeStatement s1")
        assert known(stated.brand)[0] == "KR"
        assert known(stated.manufacture)[0] == "KR, TW"
        assert unknown(stated.design) is Reason.ORIGIN_UNKNOWN

    def test_a_signed_statement_is_declared_until_somebody_checks_signatures(self) -> None:
        signed = statement(
            place="DE",
            authority="clinic",
            envelope={
                "payloadType": "application/vnd.in-toto+json",
                "payload": "e30=",
                "signatures": [{"sig": "AA=="}],
            },
        )
        assert known(gather(node(), [signed], NOW).place)[1] is DECLARED
        assert declared(signed, Dimension.PLACE).assurance is DECLARED
        assert (
            known(gather(node(), [signed], NOW, vouching=lambda *_: Standing(VERIFIED, "a key")).place)[1] is VERIFIED
        )

    def test_topology_labels_say_nothing(self) -> None:
        labelled = {"topology.kubernetes.io/region": "eu-central-1", "topology.kubernetes.io/zone": "eu-central-1a"}
        assert (
            unknown(facts(about=read_node({"metadata": {"name": "n1", "labels": labelled}})).place)
            is Reason.PLACE_UNKNOWN
        )


class TestWhichMachineIsMeant:
    MACHINE = node(provider_id=FRANKFURT, machineID="m1", systemUUID="S1")

    @pytest.mark.parametrize(
        "identity",
        [
            {},
            {"machineID": "m1"},
            {"systemUUID": "S1"},
            {"providerID": FRANKFURT},
            {"machineID": "m1", "systemUUID": "S1", "providerID": FRANKFURT},
        ],
    )
    def test_a_statement_counts_when_all_that_it_gives_fits(self, identity: dict[str, str]) -> None:
        meant = facts(statement("verified", place="FR", identity=identity), about=self.MACHINE)
        assert known(meant.place)[0] == "FR"

    @pytest.mark.parametrize(
        "identity",
        [
            {"machineID": "m2"},
            {"machineID": ""},
            {"machineID": "m1", "systemUUID": "S2"},
            {"machineID": "m1", "systemUUID": "S1", "providerID": VIRGINIA},
        ],
    )
    def test_one_that_does_not_fit_is_enough_to_void_it(self, identity: dict[str, str]) -> None:
        meant = facts(statement("verified", place="FR", identity=identity), about=self.MACHINE)
        assert known(meant.place)[0] == "DE"
        ((reason, message),) = [(problem.reason, problem.message) for problem in meant.problems]
        assert reason is Reason.IDENTITY_MISMATCH
        assert "NodeStatement verified speaks of a machine with" in message
        assert "remove this one" in message

    def test_a_node_that_registers_anew_under_the_same_name_takes_nothing_over(self) -> None:
        said = statement(place="DE", identity={"uid": "u1"})
        first, anew = (read_node({"metadata": {"name": "n1", "uid": uid}}) for uid in ("u1", "u2"))
        assert known(facts(said, about=first).place)[0] == "DE"
        replaced = facts(said, about=anew)
        assert unknown(replaced.place) is Reason.IDENTITY_MISMATCH
        assert "a machine with uid 'u1', but node n1 has 'u2'" in replaced.problems[0].message

    def test_a_providerid_that_moved_takes_the_statement_away(self) -> None:
        said = statement("verified", place="DE", control="DE", identity={"providerID": FRANKFURT})
        assert known(facts(said, provider_id=FRANKFURT).control)[0] == "DE"
        moved = facts(said, provider_id=VIRGINIA)
        assert known(moved.place) == ("US", ASSERTED, "providerID: aws us-east-1")
        assert [problem.reason for problem in moved.problems] == [Reason.IDENTITY_MISMATCH]

    def test_a_node_that_tells_no_identity_fits_none(self) -> None:
        for given in ("m1", ""):
            bare = facts(statement(place="DE", control="DE", identity={"machineID": given}))
            assert unknown(bare.place) is Reason.IDENTITY_MISMATCH
            assert unknown(bare.control) is Reason.IDENTITY_MISMATCH
            assert unknown(bare.brand) is Reason.ORIGIN_UNKNOWN, "the statement said nothing of it"

    def test_a_statement_about_another_node_is_passed_over(self) -> None:
        other = facts(statement(about="n2", place="DE"))
        assert unknown(other.place) is Reason.PLACE_UNKNOWN
        assert not other.problems
        assert other.next_change is None


class TestVirtualNodes:
    VIRTUAL = read_node(
        {"metadata": {"name": "n1", "labels": {"type": "virtual-kubelet"}}, "spec": {"providerID": FRANKFURT}}
    )

    def test_their_provider_says_nothing_of_where_pods_run(self) -> None:
        virtual = facts(about=self.VIRTUAL)
        assert unknown(virtual.place) is unknown(virtual.control) is Reason.VIRTUAL_NODE
        assert isinstance(virtual.place, Unknown)
        assert "label type=virtual-kubelet" in virtual.place.message

    def test_a_statement_about_them_counts(self) -> None:
        virtual = facts(statement(place="FR"), about=self.VIRTUAL)
        assert known(virtual.place)[0] == "FR"
        assert unknown(virtual.control) is Reason.VIRTUAL_NODE


class TestTime:
    @pytest.mark.parametrize(
        ("now", "reason"),
        [(9.9, Reason.STATEMENT_NOT_YET_VALID), (10, None), (19.9, None), (20, Reason.STATEMENT_EXPIRED)],
    )
    def test_a_statement_counts_from_its_issue_until_before_its_end(self, now: float, reason: Reason | None) -> None:
        place = facts(statement(place="DE", issued=10, expires=20), now=day(now)).place
        assert (place.reason if isinstance(place, Unknown) else None) is reason

    @pytest.mark.parametrize(("now", "change"), [(0, 5), (5, 10), (10, 20), (15, 20), (20, 30), (30, None)])
    def test_the_next_change_is_the_next_issue_or_end(self, now: float, change: float | None) -> None:
        told = facts(
            statement("a", place="DE", issued=5, expires=20),
            statement("b", place="DE", issued=10, expires=30),
            now=day(now),
        )
        assert told.next_change == (None if change is None else day(change))

    def test_the_last_word_that_ended_is_the_one_reported(self) -> None:
        told = facts(statement("a", place="DE", expires=2), statement("b", place="FR", expires=3))
        assert isinstance(told.place, Unknown)
        assert "FR (Declared by NodeStatement b) ended 2026-11-04; issue a new statement" in told.place.message

    def test_a_weaker_voucher_takes_over_from_a_stronger_one_that_ended(self) -> None:
        told = facts(statement("verified", place="DE", expires=5), statement("s", place="DE"))
        assert known(told.place) == ("DE", DECLARED, "NodeStatement s")

    def test_a_contradiction_does_not_go_away_by_waiting(self) -> None:
        both = statement("verified", place="US", expires=5), statement("s", place="DE")
        assert known(facts(*both, now=day(4)).place)[0] == "US"
        after = facts(*both, now=day(6)).place
        assert unknown(after) is Reason.STATEMENTS_DISAGREE
        assert (
            "DE (Declared by NodeStatement s), but US (Verified by NodeStatement verified) until it ended 2026-11-06"
            in str(after)
        )

    def test_it_goes_away_when_somebody_speaks_anew(self) -> None:
        both = statement("verified", place="US", expires=5), statement("s", place="DE", issued=5)
        assert known(facts(*both, now=day(6)).place)[0] == "DE"

    def test_or_when_the_statement_is_removed(self) -> None:
        assert known(facts(statement("s", place="DE")).place)[0] == "DE"

    def test_a_weaker_word_that_ended_never_mattered(self) -> None:
        told = facts(statement("s", place="US", expires=5), provider_id=FRANKFURT)
        assert known(told.place)[0] == "DE"
        assert not told.problems


class TestSeveralSources:
    def test_the_best_assurance_wins_and_the_contradiction_is_told(self) -> None:
        told = facts(statement("s", place="US"), statement("verified", place="FR"), provider_id=FRANKFURT)
        assert known(told.place) == ("FR", VERIFIED, "NodeStatement verified")
        assert isinstance(told.place, Fact)
        assert len(told.place.vouchers) == 1, "who says otherwise does not vouch"
        assert [problem.reason for problem in told.problems] == [Reason.STATEMENTS_DISAGREE] * 2
        assert "FR (Verified by NodeStatement verified) prevails over US (Declared by NodeStatement s)" in str(
            told.problems
        )

    @pytest.mark.parametrize("names", [("a", "b"), ("b", "a"), ("verified-a", "verified-b"), ("asserted", "")])
    def test_sources_of_equal_weight_that_differ_leave_it_unknown(self, names: tuple[str, str]) -> None:
        one, other = names
        said = [statement(one, place="DE" if not other else "FR"), *([statement(other, place="DE")] if other else [])]
        told = facts(*said, provider_id="" if other else VIRGINIA)
        assert unknown(told.place) is Reason.STATEMENTS_DISAGREE
        assert [problem.reason for problem in told.problems] == [Reason.STATEMENTS_DISAGREE]

    def test_everybody_who_agrees_vouches(self) -> None:
        told = facts(statement("s", place="DE"), statement("verified", place="DE"), provider_id=FRANKFURT)
        assert isinstance(told.place, Fact)
        assert [voucher.assurance for voucher in told.place.vouchers] == [VERIFIED, ASSERTED, DECLARED]
        assert not told.problems

    def test_a_weaker_source_that_is_more_precise_neither_counts_nor_contradicts(self) -> None:
        told = facts(statement("s", place="DE-BY"), provider_id=FRANKFURT)
        assert known(told.place)[0] == "DE"
        assert not told.problems

    def test_equal_sources_must_be_equally_precise(self) -> None:
        told = facts(statement("a", place="DE-BY"), statement("b", place="DE"))
        assert unknown(told.place) is Reason.STATEMENTS_DISAGREE

    def test_dimensions_are_settled_one_by_one(self) -> None:
        told = facts(statement("a", place="DE", control="US"), statement("b", place="DE", control="DE"))
        assert known(told.place)[0] == "DE"
        assert unknown(told.control) is Reason.STATEMENTS_DISAGREE

    def test_many_nodes_are_gathered_as_one_by_one(self) -> None:
        nodes = [node("n2"), node("n1", provider_id=FRANKFURT), node("n3")]
        said = [
            statement("a", place="FR"),
            statement("b", about="n3", place="IE"),
            statement("c", about="n9", place="IE"),
        ]
        assert gather_all(nodes, said, NOW) == [gather(each, said, NOW) for each in nodes]


def device(name: str, brand: list[str], **spec: object) -> AcceleratorClass:
    """A class of devices with a documented brand, or with none."""
    origin = {"brand": {"jurisdictions": brand, "source": "a datasheet", "confidence": "Documented"}} if brand else {}
    return AcceleratorClass.read({"metadata": {"name": name}, "spec": {"provenance": origin, **spec}})


def shows(*resources: str, said: list[str] | None = None, **labels: str) -> NodeFacts:
    """The facts about a node that has devices and labels, with a statement of its brand or without."""
    allocatable = dict.fromkeys(resources, "1")
    about = read_node({"metadata": {"name": "n1", "labels": labels}, "status": {"allocatable": allocatable}})
    return facts(*([statement(origin={"brand": said})] if said else []), about=about)


class TestProvenance:
    """A class of accelerators speaks of all its devices, and counts as Declared."""

    CLASS = accelerator(brand=(["KR"], "Documented"), manufacture=(["TW"], "Reported"), design=(["KR"], "Unchecked"))

    def test_it_fills_in_what_nobody_ever_said(self) -> None:
        filled = with_provenance(facts(), [self.CLASS])
        assert known(filled.brand) == ("KR", DECLARED, "AcceleratorClass rngd (Documented: a datasheet)")
        assert known(filled.manufacture)[0] == "TW"

    def test_what_nobody_checked_is_not_known(self) -> None:
        assert unknown(with_provenance(facts(), [self.CLASS]).design) is Reason.ORIGIN_UNKNOWN

    def test_it_says_nothing_of_place_and_control(self) -> None:
        before = facts(provider_id=FRANKFURT)
        after = with_provenance(before, [self.CLASS])
        assert (after.place, after.control) == (before.place, before.control)

    def test_an_empty_class_changes_nothing(self) -> None:
        before = facts(statement(origin={"brand": ["KR"]}))
        assert with_provenance(before, [accelerator()]) == before

    def test_it_joins_those_who_agree(self) -> None:
        both = with_provenance(facts(statement(origin={"brand": ["KR"]})), [self.CLASS])
        assert isinstance(both.brand, Fact)
        assert len(both.brand.vouchers) == 2

    def test_a_statement_of_the_same_weight_that_differs_leaves_it_unknown(self) -> None:
        disputed = with_provenance(facts(statement(origin={"brand": ["CN"]})), [self.CLASS])
        assert unknown(disputed.brand) is Reason.STATEMENTS_DISAGREE
        assert Reason.STATEMENTS_DISAGREE in {problem.reason for problem in disputed.problems}

    def test_a_better_statement_prevails(self) -> None:
        verified = with_provenance(facts(statement("verified", origin={"brand": ["CN"]})), [self.CLASS])
        assert known(verified.brand)[0] == "CN"
        assert verified.problems

    def test_devices_count_where_the_node_shows_them(self) -> None:
        labels = {"matchLabels": {"gpu": "a"}}
        korean = device("rngd", ["KR"], resources=["k.example/npu"])
        labelled = device("big", ["DE"], resources=["g.example/gpu"], nodeSelector=labels)
        classes = [korean, labelled]
        assert unknown(with_provenance(shows(), classes).brand) is Reason.ORIGIN_UNKNOWN
        assert known(with_provenance(shows("k.example/npu"), classes).brand)[0] == "KR"
        assert unknown(with_provenance(shows("g.example/gpu"), classes).brand) is Reason.ORIGIN_UNKNOWN
        assert known(with_provenance(shows("g.example/gpu", gpu="a"), classes).brand)[0] == "DE"

    def test_a_node_with_two_kinds_of_devices_comes_from_both_countries(self) -> None:
        one, two = device("one", ["KR"], resources=["a.example/x"]), device("two", ["DE"], resources=["b.example/x"])
        brand = with_provenance(shows("a.example/x", "b.example/x"), [two, one]).brand
        assert known(brand) == (
            "DE, KR",
            DECLARED,
            "AcceleratorClass one (Documented: a datasheet), AcceleratorClass two (Documented: a datasheet)",
        )

    def test_one_device_of_unknown_origin_leaves_the_whole_unknown(self) -> None:
        one, silent = device("one", ["KR"], resources=["a.example/x"]), device("two", [], resources=["b.example/x"])
        both = shows("a.example/x", "b.example/x")
        assert unknown(with_provenance(both, [one, silent]).brand) is Reason.ORIGIN_UNKNOWN
        german = shows("a.example/x", "b.example/x", said=["DE"])
        assert unknown(with_provenance(german, [one, silent]).brand) is Reason.STATEMENTS_DISAGREE
        whole = shows("a.example/x", "b.example/x", said=["DE", "KR"])
        assert known(with_provenance(whole, [one, silent]).brand) == ("DE, KR", DECLARED, "NodeStatement s1")

    def test_a_device_that_no_class_describes_is_of_unknown_origin(self) -> None:
        one, plain = device("one", ["KR"], resources=["a.example/x"]), device("cpu", ["US"])
        assert unknown(with_provenance(shows("a.example/x", "b.example/x"), [one]).brand) is Reason.ORIGIN_UNKNOWN
        assert unknown(with_provenance(shows("b.example/x"), [plain]).brand) is Reason.ORIGIN_UNKNOWN
        said = shows("b.example/x", said=["US"])
        assert known(with_provenance(said, [plain]).brand) == ("US", DECLARED, "NodeStatement s1")

    @pytest.mark.parametrize("resource", ["hugepages-2Mi", "pods", "batch.kubernetes.io/x", "kubernetes.io/x"])
    def test_what_every_machine_has_is_no_device(self, resource: str) -> None:
        plain = device("cpu", ["US"])
        assert known(with_provenance(shows(resource), [plain]).brand)[0] == "US"

    def test_several_classes_of_one_resource_need_not_all_speak(self) -> None:
        one, silent = (device(name, by, resources=["a.example/x"]) for name, by in (("one", ["KR"]), ("two", [])))
        assert known(with_provenance(shows("a.example/x"), [one, silent]).brand)[0] == "KR"

    def test_plain_cpu_says_nothing_unless_it_is_asked_to(self) -> None:
        one, plain = device("one", ["KR"], resources=["a.example/x"]), device("cpu", [])
        assert known(with_provenance(shows("a.example/x"), [one, plain]).brand)[0] == "KR"
        assert known(with_provenance(shows("a.example/x"), [one, device("cpu", ["US"])]).brand)[0] == "KR, US"

    @pytest.mark.parametrize("said", [{"expires": 5}, {"issued": 30}, {"identity": {"machineID": "m9"}}])
    def test_it_does_not_replace_a_statement_that_no_longer_counts(self, said: dict[str, object]) -> None:
        before: NodeFacts = facts(statement(origin={"brand": ["CN"]}, **said))  # type: ignore[arg-type]
        assert unknown(with_provenance(before, [self.CLASS]).brand) is not Reason.ORIGIN_UNKNOWN
