"""The commands of the public page, with another host, against a real server on loopback."""

import json
import shutil
import subprocess

import httpx
import pytest

PAGE = """
curl -X POST BASE/api/keys \
  -H "Content-Type: application/json" \
  -d '{"name": "my-app"}'
curl -X POST BASE/api/wallets \
  -H "Content-Type: application/json" \
  -H "X-Trove-Key: tvpk_your_key_here" \
  -d '{"agent_id": "research-bot", "name": "Research Agent", "budget_limit_usd": 50}'
curl -X POST BASE/api/wallets/1/purchase \
  -H "Content-Type: application/json" \
  -H "X-Trove-Key: tvpk_your_key_here" \
  -d '{"amount_usd": 5.00, "description": "Twilio SMS", "vendor": "twilio"}'
curl BASE/api/wallets/1/balance \
  -H "X-Trove-Key: tvpk_your_key_here"
"""


def curl(command):
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl --silent --show-error ", 1)],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_commands_of_the_public_page(tmp_path, serving):
    with serving(tmp_path) as server:
        page = PAGE.replace("BASE", server.base_url)
        commands = ["curl " + part.strip() for part in page.split("curl ")[1:]]
        key = curl(commands[0])["api_key"]
        answers = [curl(command.replace("tvpk_your_key_here", key)) for command in commands[1:]]
        assert answers[0]["wallet"]["id"] == 1
        assert answers[1]["transaction"]["id"] == 1
        assert answers[2]["balance"]["remaining_budget"] == 45

        def make_key(**headers):
            return httpx.post(f"{server.base_url}/api/keys", json={"name": "x"}, headers=headers).status_code

        assert make_key() == 200
        assert make_key(Host="evil.example:80") == 401
        assert make_key(Forwarded="for=192.0.2.1") == 401
        assert make_key(**{"X-Forwarded-For": "192.0.2.1"}) == 401
        admin = server.told("admin key")
        assert make_key(Forwarded="for=192.0.2.1", Authorization=f"Bearer {admin}") == 200
        assert make_key(Authorization=f"Bearer {server.told('key')}") == 403


def test_a_server_that_listens_everywhere_asks_for_an_admin_key(tmp_path, serving):
    with serving(tmp_path, "--host", "0.0.0.0") as server:
        url = f"{server.base_url}/api/keys"
        assert httpx.post(url, json={"name": "x"}).status_code == 401
        admin = {"Authorization": f"Bearer {server.told('admin key')}"}
        assert httpx.post(url, json={"name": "x"}, headers=admin).status_code == 200
