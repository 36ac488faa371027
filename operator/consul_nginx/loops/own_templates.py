"""A LoadBalancer's own templates: read, rendered, and what they ask watched.

What a template asks is found by rendering it. With each answer it may ask for more; until all is
answered it has no text, and nginx keeps what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from consul_nginx.consul.facts import FactWatches
from consul_nginx.kube.templates import TemplateNotFoundError, TemplateStore
from consul_nginx.model.facts import UNKNOWN_FACT, Facts, Question, Value
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.policy import Policy
from consul_nginx.model.template import OwnText, TemplateProblem, TemplateUse
from consul_nginx.nginx.own.outcome import Answers, Outcome
from consul_nginx.plan.own_templates import answer, bound_question, uses, waiting
from consul_nginx.plan.permissions import readable_prefixes

# Consul's answers come within milliseconds; each may bring a new question.
FIRST_ANSWERS_S = 2.0
MAX_PASSES = 8


class Renders(Protocol):
    """The part of the renderer that is needed here."""

    async def render(
        self, *, source: str, answers: Answers, prefixes: tuple[str, ...] | None
    ) -> Outcome:
        """See ``Renderer.render``."""


@dataclass(frozen=True, kw_only=True)
class _Rendered:
    """What a template was rendered from, so that the same is not rendered again."""

    source: str
    values: Mapping[Question, Value | None]
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of one LoadBalancer's templates."""

    sources: frozenset[ObjectRef]
    rendered: Mapping[TemplateUse, _Rendered]
    asked: frozenset[Question]


_NOTHING = _Known(sources=frozenset(), rendered={}, asked=frozenset())


class OwnTemplates:
    """The templates of all LoadBalancers."""

    def __init__(
        self, *, store: TemplateStore, renderer: Renders, watches: FactWatches, policy: Policy
    ) -> None:
        self._store = store
        self._renderer = renderer
        self._watches = watches
        self._policy = policy
        self._known: dict[ObjectRef, _Known] = {}

    async def render(self, load_balancer: LoadBalancer) -> tuple[OwnText, ...]:
        """Every template's text, or why it has none; raises ``KubeError``.

        Waits a moment for answers that Consul has not given yet.
        """
        named = uses(load_balancer)
        if not named:
            self.forget(load_balancer.meta.ref)
            return ()
        loop = asyncio.get_running_loop()
        until = loop.time() + FIRST_ANSWERS_S
        sources = {use: await self._source(use, load_balancer) for use in named}
        for _ in range(MAX_PASSES):
            facts = self._watches.facts()
            texts = [
                await self._text(use, source=sources[use], load_balancer=load_balancer, facts=facts)
                for use in named
            ]
            asked = self._ask(load_balancer)
            unheard = asked - facts.keys()
            if not unheard or loop.time() >= until:
                break
            await self._watches.heard(unheard, patience=until - loop.time())
        return tuple(texts)

    def asking(self, question: Question) -> frozenset[ObjectRef]:
        """LoadBalancers that an answer to ``question`` concerns."""
        return frozenset(ref for ref, known in self._known.items() if question in known.asked)

    def changed(self, source: ObjectRef) -> frozenset[ObjectRef]:
        """LoadBalancers that a change of a ConfigMap concerns; it is read anew next time."""
        self._store.forget(source)
        return frozenset(ref for ref, known in self._known.items() if source in known.sources)

    def forget_observed(self, ref: ObjectRef) -> None:
        """Read the ConfigMaps of a LoadBalancer anew next time, and try anew what was stopped."""
        known = self._known.get(ref)
        if known is None:
            return
        for source in known.sources:
            self._store.forget(source)
        went_well = {
            use: one
            for use, one in known.rendered.items()
            if one.outcome.failure is None or not one.outcome.failure.stopped
        }
        self._known[ref] = replace(known, rendered=went_well)

    def forget(self, ref: ObjectRef) -> None:
        """The LoadBalancer is gone, or has no template any more."""
        self.forget_observed(ref)
        if self._known.pop(ref, None) is not None:
            self._watch()

    async def _source(self, use: TemplateUse, load_balancer: LoadBalancer) -> str | TemplateProblem:
        of, ref = load_balancer.meta.ref, _source_ref(use, load_balancer)
        known = self._known.get(of, _NOTHING)
        self._known[of] = replace(known, sources=known.sources | {ref})
        try:
            return await self._store.read(ref, use.source.key)
        except TemplateNotFoundError as error:
            return TemplateProblem(reason="TemplateNotFound", message=str(error))

    async def _text(
        self,
        use: TemplateUse,
        *,
        source: str | TemplateProblem,
        load_balancer: LoadBalancer,
        facts: Facts,
    ) -> OwnText:
        if isinstance(source, TemplateProblem):
            return OwnText(use=use, problem=source)
        outcome = await self._outcome(use, source=source, load_balancer=load_balancer, facts=facts)
        if outcome.text is not None:
            return OwnText(use=use, text=outcome.text)
        if outcome.failure is not None:
            problem = TemplateProblem(reason="TemplateFailed", message=str(outcome.failure))
        else:
            problem = waiting(
                unanswered=_bound(outcome.unanswered, load_balancer),
                absent=_bound(outcome.absent, load_balancer),
                facts=facts,
            )
        return OwnText(use=use, problem=problem)

    async def _outcome(
        self, use: TemplateUse, *, source: str, load_balancer: LoadBalancer, facts: Facts
    ) -> Outcome:
        """Render, unless it was rendered from the same before."""
        ref = load_balancer.meta.ref
        known = self._known[ref]
        before = known.rendered.get(use)
        asked = before.outcome.asked if before is not None else frozenset()
        values = {
            one: facts.get(bound_question(one, load_balancer=load_balancer), UNKNOWN_FACT).value
            for one in asked
        }
        if before is not None and (before.source, before.values) == (source, values):
            return before.outcome
        outcome = await self._renderer.render(
            source=source,
            answers={one: answer(value) for one, value in values.items() if value is not None},
            prefixes=readable_prefixes(load_balancer=load_balancer, policy=self._policy),
        )
        made = _Rendered(
            source=source,
            values={one: values.get(one) for one in outcome.asked},
            outcome=outcome,
        )
        self._known[ref] = replace(known, rendered={**known.rendered, use: made})
        return outcome

    def _ask(self, load_balancer: LoadBalancer) -> frozenset[Question]:
        """Have Consul watched for what the templates named now have asked."""
        ref, named = load_balancer.meta.ref, uses(load_balancer)
        known = self._known[ref]
        rendered = {use: known.rendered[use] for use in named if use in known.rendered}
        asked = frozenset(
            question
            for one in rendered.values()
            for question in _bound(one.outcome.asked, load_balancer)
        )
        self._known[ref] = _Known(
            sources=frozenset(_source_ref(use, load_balancer) for use in named),
            rendered=rendered,
            asked=asked,
        )
        if asked != known.asked:
            self._watch()
        return asked

    def _watch(self) -> None:
        self._watches.watch_only(set().union(*(known.asked for known in self._known.values())))


def _source_ref(use: TemplateUse, load_balancer: LoadBalancer) -> ObjectRef:
    return ObjectRef(namespace=load_balancer.meta.ref.namespace, name=use.source.name)


def _bound(questions: frozenset[Question], load_balancer: LoadBalancer) -> frozenset[Question]:
    return frozenset(bound_question(one, load_balancer=load_balancer) for one in questions)
