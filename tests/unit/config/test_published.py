"""The secrets of the documentation are told from others: whoever copies an example copies its secret too."""

from __future__ import annotations

import re
from pathlib import Path

from cdrhub.config import parse
from cdrhub.config.published import EXAMPLE, published

ROOT = Path(__file__).parents[3]
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
EXPOSED = '[http]\nlisten = "0.0.0.0:8080"\n'
REACHED = """
[[http.tokens]]
name = "bi"
token = "bi-0123456789abcdef"
[[http.tokens]]
name = "own"
token = "2f0b9d2e6a5f2f1f7c11"
[sources.tel-aviv]
type = "voicenter"
path = "/ingest/voicenter/0123456789abcdef0123"
[sources.haifa]
type = "voicenter"
path = "/ingest/voicenter/2f0b9d2e6a5f2f1f7c11"
"""
SENDS = f"""
[[broadcast.webhooks]]
name = "crm"
url = "https://crm.example.com/hooks"
secret = "whsec_bWFkZSBhdCByYW5kb20sIG1vcmUgb3IgbGVzcw=="
former_secrets = ["{WHSEC}"]
[redial.diallers.crm]
type = "webhook"
url = "https://crm.example.com/dial"
secret = "{WHSEC}"
"""


def told(text: str) -> list[str]:
    return list(published(parse(text, path=Path("config.toml"), environ={})))


def test_a_token_and_a_path_count_where_others_reach_them() -> None:
    proxied = '[http]\ntrusted_proxies = ["10.0.0.7"]\n'
    assert told(EXPOSED + REACHED) == told(proxied + REACHED) == ["http.tokens: bi", "sources.tel-aviv"]
    assert told(REACHED) == []


def test_secrets_that_sign_count_everywhere() -> None:
    assert told(SENDS) == ["broadcast.webhooks: crm", "redial.diallers.crm"]


def test_each_secret_of_the_documentation_is_known() -> None:
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "config.example.toml"]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    signing = set(re.findall(r"whsec_[A-Za-z0-9+/=]{24,}", text))
    paths = set(re.findall(r"/ingest/[\w-]+/[\w-]{16,}", text))
    tokens = set(re.findall(r'token = "([^"$]{16,})"', text)) | set(re.findall(r"_TOKEN=(\S{16,})", text))
    assert signing
    assert paths
    assert tokens
    assert all(told(SENDS.replace(WHSEC, secret)) for secret in signing)
    assert all(EXAMPLE in secret for secret in paths | tokens)
