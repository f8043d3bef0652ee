import shutil
import subprocess
from dataclasses import replace

import pytest

from mitsugo.report.page import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=4000", "--dump-dom",
)  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: chromium")
def test_a_browser_draws_the_map_and_runs_no_script_of_a_name(content, tmp_path):
    hostile = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    names = (hostile, "b", "c")
    points = replace(content.map, names=(hostile,) * 24)
    page = tmp_path / "report.html"
    page.write_text(render(replace(content, class_names=names, map=points)), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *OPTIONS, profile, "--lang=en-US", page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    seen = done.stdout.decode()
    assert 'data-ready="yes"' in seen
    assert 'id="map-still" class="still" hidden' in seen
    assert "taken</title>" not in seen
    assert "parts · article · mitsugo" in seen
