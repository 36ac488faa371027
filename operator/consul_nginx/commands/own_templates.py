"""LoadBalancers' own templates among manifests, rendered with whatever answers there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from consul_nginx.commands.declared import Declarations
from consul_nginx.commands.manifests import Manifest, ManifestError, mapping_of, ref_of
from consul_nginx.kube.client import Raw
from consul_nginx.kube.templates import TemplateNotFoundError, template_in
from consul_nginx.model.config_map import TEMPLATE_LABEL
from consul_nginx.model.facts import Question, Value
from consul_nginx.model.kubernetes import LoadBalancer, ObjectRef
from consul_nginx.model.policy import Policy
from consul_nginx.model.template import OwnText, TemplateProblem, TemplateUse
from consul_nginx.nginx.own.outcome import Outcome
from consul_nginx.plan.own_templates import answer, bound_question, uses, waiting
from consul_nginx.plan.permissions import readable_prefixes, template_objection
from consul_nginx.sandbox.renderer import Renderer

Ask = Callable[[Question], Awaitable[Value | None]]
OwnTexts = Mapping[ObjectRef, tuple[OwnText, ...]]


async def own_texts(
    declared: Declarations, *, policy: Policy | None, namespace: str, ask: Ask
) -> OwnTexts:
    """Every template's text, by LoadBalancer; of those that ``policy`` forbids, nothing.

    ``policy`` None: nothing is forbidden. ``ask`` answers a question, None: it can't.
    ``namespace`` is that of ConfigMaps that name none. Raises ``ManifestError``.
    """
    config_maps = _config_maps(declared, namespace=namespace)
    renderer = Renderer()
    try:
        return {
            item.value.meta.ref: tuple(
                [
                    await _text(
                        use,
                        load_balancer=item.value,
                        config_maps=config_maps,
                        prefixes=None
                        if policy is None
                        else readable_prefixes(load_balancer=item.value, policy=policy),
                        renderer=renderer,
                        ask=ask,
                    )
                    for use in uses(item.value)
                ]
            )
            for item in declared.load_balancers
            if isinstance(item.value, LoadBalancer)
            and (policy is None or not template_objection(load_balancer=item.value, policy=policy))
        }
    finally:
        await renderer.close()


async def _text(
    use: TemplateUse,
    *,
    load_balancer: LoadBalancer,
    config_maps: Mapping[ObjectRef, Raw],
    prefixes: tuple[str, ...] | None,
    renderer: Renderer,
    ask: Ask,
) -> OwnText:
    ref = ObjectRef(namespace=load_balancer.meta.ref.namespace, name=use.source.name)
    try:
        source = template_in(config_maps.get(ref), key=use.source.key)
    except TemplateNotFoundError as error:
        return OwnText(
            use=use, problem=TemplateProblem(reason="TemplateNotFound", message=str(error))
        )
    outcome, values = Outcome(), dict[Question, Value | None]()
    while True:
        outcome = await renderer.render(
            source=source,
            answers={one: answer(value) for one, value in values.items() if value is not None},
            prefixes=prefixes,
        )
        new = outcome.unanswered - values.keys()
        if not new:
            break
        for question in new:
            values[question] = await ask(bound_question(question, load_balancer=load_balancer))
    if outcome.text is not None:
        return OwnText(use=use, text=outcome.text)
    if outcome.failure is not None:
        problem = TemplateProblem(reason="TemplateFailed", message=str(outcome.failure))
    else:
        problem = waiting(unanswered=outcome.unanswered, absent=outcome.absent)
    return OwnText(use=use, problem=problem)


def is_template(manifest: Manifest) -> bool:
    """Whether it is a ConfigMap that templates may stand in."""
    try:
        labels = mapping_of(mapping_of(manifest.raw, "metadata"), "labels")
    except ManifestError:
        return False
    return manifest.kind == "ConfigMap" and labels.get(TEMPLATE_LABEL) == "true"


def _config_maps(declared: Declarations, *, namespace: str) -> dict[ObjectRef, Raw]:
    """ConfigMaps of the core API by name, checked as far as they are read."""
    found: dict[ObjectRef, Raw] = {}
    for manifest in declared.others:
        if manifest.kind != "ConfigMap":
            continue
        try:
            metadata, data = mapping_of(manifest.raw, "metadata"), mapping_of(manifest.raw, "data")
            found[ref_of(manifest.raw, namespace=namespace)] = {
                "metadata": {"labels": mapping_of(metadata, "labels")},
                "data": data,
            }
        except ManifestError as error:
            raise ManifestError(f"{manifest.file}: {manifest.kind}: {error}") from error
    return found
