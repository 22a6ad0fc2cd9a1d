"""`[redial]`: presets, single rules beside them, diallers, and what is said about mistakes."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import pytest

from cdrhub.config import Config, parse
from cdrhub.errors import ConfigError
from cdrhub.model.disposition import Disposition
from cdrhub.redial.policy import CAUTIOUS, PLAIN, Mode
from cdrhub.redial.settings import Settings
from cdrhub.redial.webhook_dialler_config import WebhookDiallerConfig
from cdrhub.redial.window import Hours, Window

CRM = (
    '[redial.diallers.crm]\ntype = "webhook"\nurl = "https://crm.example.com/dial"\n'
    'secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="\n'
)
LAGOS = '[sources.lagos]\ntype = "3cx"\nlisten = "127.0.0.1:5555"\n'


def loaded(text: str) -> Config:
    return parse(text, path=Path("/nowhere/cdrhub.toml"), environ={})


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    return str(caught.value).replace("/nowhere/cdrhub.toml:", "")


def test_without_a_table_redial_is_off_and_has_the_defaults_of_its_settings() -> None:
    assert loaded("").redial.settings() == Settings()


def test_a_preset_is_its_policy() -> None:
    assert loaded('[redial]\npreset = "plain"').redial.policy() == PLAIN
    assert loaded('[redial]\npreset = "cautious"').redial.policy() == CAUTIOUS


def test_single_rules_stand_beside_the_preset() -> None:
    policy = loaded(
        '[redial]\npreset = "cautious"\nnumber_cap = 2\nperiod_cap = 0\nbetween_numbers = "0s"\nwindow = ""\n'
        'cool_down = { busy = "10m", voicemail = "0s", answered = "1d" }'
    ).redial.policy()
    assert policy.number_cap == 2
    assert policy.period_cap is None
    assert policy.between_numbers is None
    assert policy.window is None
    assert policy.contacted_cool_down == timedelta(days=1)
    assert policy.cool_down == {
        Disposition.BUSY: timedelta(minutes=10),
        Disposition.ABANDONED: CAUTIOUS.cool_down[Disposition.ABANDONED],
    }


def test_every_timing_reaches_the_settings() -> None:
    settings = loaded(
        '[redial]\nmode = "observe"\nmax_age_seconds = 100\nagent_retry_seconds = 10\nagent_retries = 1\n'
        "match_start_seconds = 20\nfirst_sign_seconds = 30\nattempt_timeout_seconds = 40\nshared_hold_seconds = 50\n"
        'result_wait_seconds = 60\nmanual_calls = "redial"\nhangup_superseded = true\nwindow = "09:30-17:00"'
    ).redial.settings()
    assert settings.mode is Mode.OBSERVE
    assert settings.timing.max_age == timedelta(seconds=100)
    assert (settings.timing.agent_retry, settings.timing.agent_retries) == (timedelta(seconds=10), 1)
    assert settings.match_start == timedelta(seconds=20)
    assert settings.first_sign == timedelta(seconds=30)
    assert settings.attempt_timeout == timedelta(seconds=40)
    assert settings.shared_hold == timedelta(seconds=50)
    assert settings.result_wait == timedelta(seconds=60)
    assert settings.manual_calls_redial
    assert settings.hangup_superseded
    assert settings.policy.window == Window(hours=(Hours(start=time(9, 30), end=time(17)),))


def test_a_window_has_days_of_the_week() -> None:
    window = loaded('[redial]\nwindow = "mon-Fri 08:00-20:00,Sat  09:00-13:00"').redial.policy().window
    assert window == Window(
        hours=(
            Hours(start=time(8), end=time(20), first=0, last=4),
            Hours(start=time(9), end=time(13), first=5, last=5),
        )
    )


def test_a_dialler_has_the_model_of_its_type_and_a_source_names_it() -> None:
    config = loaded(f'{CRM}{LAGOS}dialler = "crm"\n')
    assert isinstance(config.redial.diallers["crm"], WebhookDiallerConfig)
    assert config.sources["lagos"].dialler == "crm"
    assert "MDEy" not in repr(config.redial)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[redial]\nnumber_cap = -1", "2: redial.number_cap: must be 0 or more"),
        (
            '[redial]\ncool_down = { bussy = "5m" }',
            "2: redial.cool_down: 'bussy' is not a result: there are ",
        ),
        ('[redial]\ncool_down = { not_dialled = "5m" }', "'not_dialled' is not a result"),
        ('[redial]\nwindow = "8-21"', "2: redial.window: is not a calling window: write e.g. "),
        ('[redial]\nwindow = "08:00-24:00"', "is not a calling window"),
        ('[redial]\nwindow = "08:00-08:02"', "is too short"),
        ('[redial]\nwindow = "Mon-Fri 08:00-20:00, Sat 09:00-09:01"', "is too short"),
        ('[redial]\nwindow = "Mon-Fri 08:00-20:00, "', "is not a calling window"),
        ('[redial]\nwindow = "Mon-Frei 08:00-20:00"', "is not a calling window"),
        ('[redial]\nwindow = "Mon-Fri"', "is not a calling window"),
        ("[redial]\nresult_wait_seconds = 300", "must be less than max_age_seconds"),
        ('[redial.diallers.crm]\nurl = "http://x"', "redial.diallers.crm.type: is missing: what dials, e.g. type = "),
        (
            '[redial.diallers.crm]\ntype = "webhok"',
            "2: redial.diallers.crm.type: there is no dialler type 'webhok': did you mean 'webhook'?",
        ),
        (CRM.replace("url", "urk"), "redial.diallers.crm.urk: there is no such key; did you mean 'url'?"),
        (f"{CRM}max_live = 0", "redial.diallers.crm.max_live: must be 1 or more"),
        ("[redial]\ndiallers = 3", "redial.diallers: must be tables: write [redial.diallers.<name>]"),
        ('[redial.diallers.CRM]\ntype = "webhook"', "a dialler's name begins with a-z or 0-9"),
        (
            f'{CRM}{LAGOS}dialler = "crn"\n',
            "sources.lagos.dialler: there is no table [redial.diallers.crn]; did you mean 'crm'?",
        ),
        (
            f'{CRM}{LAGOS}[sources.files]\ntype = "3cx"\nmode = "file"\npath = "/x"\ninto = "lagos"\ndialler = "crm"\n',
            "sources.files.dialler: its records belong to the calls of 'lagos': name the dialler there",
        ),
    ],
)
def test_a_mistake_is_named_with_its_remedy(text: str, said: str) -> None:
    assert said in problem(text)


@pytest.mark.parametrize(
    "text",
    [
        CRM.replace("url", "urk") + LAGOS + 'dialler = "crm"\n',
        '[sources.lagos]\ntype = "3xc"\n[sources.files]\ntype = "3cx"\nmode = "file"\npath = "/x"\ninto = "lagos"\n',
    ],
)
def test_a_table_with_a_mistake_is_not_said_to_be_missing(text: str) -> None:
    said = problem(text)
    assert "there is no source '" not in said
    assert "there is no table" not in said


def test_no_message_shows_a_secret() -> None:
    assert "c2hvcnQ" not in problem('[redial.diallers.crm]\ntype = "webhook"\nurl = "x"\nsecret = "whsec_c2hvcnQ="')
