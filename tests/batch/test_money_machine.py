"""Units, prices, budget and states together: any run, killed and resumed at any point, keeps the money rules."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nanogpt_images.batch.planning.pricing import unit_price
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import Event, State, advance, event_of, reopens_on_resume, reopens_on_retry
from nanogpt_images.batch.units import Unit, units_of
from nanogpt_images.errors import Charge
from nanogpt_images.money.budget import Budget
from nanogpt_images.types.model import Model
from nanogpt_images.types.parameters import CountRule, split_count
from nanogpt_images.types.prices import PriceTable

MODEL = Model(id="m", count_rule=CountRule(1, 3), prices=PriceTable({"1k": 1e-9, "2k": 4e-9}))
ROWS = st.lists(
    st.builds(
        BatchRow,
        st.sampled_from("ab"),
        st.just("m"),
        count=st.integers(1, 5),
        resolution=st.sampled_from(["1k", "2k", None]),
    ),
    min_size=1,
    max_size=5,
)


class Job:
    """One entry of a journal that is kept on paper."""

    def __init__(self, unit: Unit) -> None:
        price = unit_price(MODEL, unit.row, unit.images)
        assert price is not None
        self.price = price
        self.state = State.PENDING
        self.charge: Charge | None = None
        self.reserved = 0
        self.cost = 0


class MoneyMachine(RuleBasedStateMachine):
    """The journal outlives every run; the budget and the reservations are those of the current one."""

    @initialize(rows=ROWS, cap=st.integers(0, 60))
    def start(self, rows: list[BatchRow], cap: int) -> None:
        self.rows = rows
        self.cap = cap
        self.journal: dict[str, Job] = {}
        self.charges = Counter[str]()
        self.repeats_allowed = Counter[str]()
        self.images = Counter[str]()
        self.admit(rows)
        self.budget = Budget(cap)

    def admit(self, rows: list[BatchRow]) -> None:
        seen = Counter[str]()
        for row in rows:
            counts = split_count(row.count, MODEL.count_rule)
            units = units_of(row, MODEL.count_rule, counts, number=seen[row.digest])
            seen[row.digest] += len(units)
            for unit in units:
                job = self.journal.setdefault(unit.id, Job(unit))
                if reopens_on_resume(job.state, job.charge):
                    job.state = advance(job.state, Event.RETRIED)

    def ids(self, *states: State) -> list[str]:
        return [name for name, job in self.journal.items() if job.state in states]

    @precondition(lambda self: self.ids(State.PENDING))
    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        job = self.journal[data.draw(st.sampled_from(self.ids(State.PENDING)))]
        if self.budget.reserve(job.price.high_nano):
            job.reserved = job.price.high_nano
            job.state = advance(job.state, Event.SENT)

    @precondition(lambda self: self.ids(State.SENT))
    @rule(data=st.data(), url=st.booleans())
    def succeed(self, data: st.DataObject, url: bool) -> None:
        name = data.draw(st.sampled_from(self.ids(State.SENT)))
        job = self.journal[name]
        cost = data.draw(st.integers(job.price.low_nano, job.price.high_nano))
        self.charges[name] += 1
        job.cost += cost
        self.budget.settle(job.reserved, cost)
        job.reserved = 0
        job.state = advance(job.state, Event.LINKED if url else Event.STORED)
        self.images[name] += not url

    @precondition(lambda self: self.ids(State.LINKED))
    @rule(data=st.data())
    def download(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.ids(State.LINKED)))
        self.journal[name].state = advance(State.LINKED, Event.STORED)
        self.images[name] += 1

    @precondition(lambda self: self.ids(State.SENT))
    @rule(data=st.data(), charge=st.sampled_from(Charge), retryable=st.booleans(), billed=st.booleans())
    def fail(self, data: st.DataObject, charge: Charge, retryable: bool, billed: bool) -> None:
        name = data.draw(st.sampled_from(self.ids(State.SENT)))
        job = self.journal[name]
        if charge in (Charge.NOT_SENT, Charge.REJECTED):
            self.budget.release(job.reserved)
            event = Event.REFUSED if retryable else event_of(charge)
        else:
            self.charges[name] += charge is Charge.CHARGED or billed
            job.cost += job.reserved
            self.budget.hold(job.reserved)
            event = event_of(charge)
        job.reserved = 0
        job.charge = charge
        job.state = advance(job.state, event)

    @rule(random=st.randoms(use_true_random=False), billed=st.booleans())
    def kill_and_resume(self, random, billed: bool) -> None:
        for name in self.ids(State.SENT):
            job = self.journal[name]
            job.state = advance(job.state, Event.UNRESOLVED)
            job.charge = Charge.UNKNOWN
            self.charges[name] += billed
            job.cost += job.reserved
            job.reserved = 0
        random.shuffle(self.rows)
        known = set(self.journal)
        self.admit(self.rows)
        assert set(self.journal) == known
        self.budget = Budget(self.cap, sum(job.cost for job in self.journal.values()))

    @rule()
    def retry_unknown(self) -> None:
        for name, job in self.journal.items():
            if reopens_on_retry(job.state, job.charge, unknown=True):
                job.state = advance(job.state, Event.RETRIED)
                self.repeats_allowed[name] += 1

    @invariant()
    def nothing_passes_the_cap(self) -> None:
        assert self.budget.spent + self.budget.reserved <= self.cap
        assert self.budget.spent == sum(job.cost for job in self.journal.values())

    @invariant()
    def nothing_is_done_or_paid_twice(self) -> None:
        for name in self.journal:
            assert self.images[name] <= 1
            assert self.charges[name] <= 1 + self.repeats_allowed[name]


TestMoneyMachine = MoneyMachine.TestCase
