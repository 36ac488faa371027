"""One folder per feature: manifests and Consul's answers in, the files that nginx reads out.

``pytest tests/unit/test_golden.py --update-golden`` writes what is rendered now. In
tests/nginx/test_features.py the same folders have traffic.
"""

from __future__ import annotations

import pytest

from consul_nginx.model.layout import Layout
from consul_nginx.nginx.render import render
from unit.features import GOLDEN, NAMES, Feature


@pytest.mark.parametrize("name", NAMES)
def test_manifests_and_consul_give_exactly_these_files(name, request):
    plan, expected = Feature.read(name).plan(), GOLDEN / name / "nginx"
    files = dict(render(configuration=plan.configuration, layout=Layout()).files)
    if request.config.getoption("--update-golden"):
        expected.mkdir(exist_ok=True)
        for path in expected.iterdir():
            path.unlink()
        for name, text in files.items():
            (expected / name).write_text(text)
    assert {path.name: path.read_text() for path in expected.iterdir()} == files
