"""Test that the hub obeys VISLAB_OFFLINE while it is set."""

from huggingface_hub import is_offline_mode

from vislab.io.hub import hub_rules


def test_vislab_offline_holds_for_the_hub_while_it_is_set(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for value, expected in (("1", True), ("", False)):
        monkeypatch.setenv("VISLAB_OFFLINE", value)
        with hub_rules():
            assert is_offline_mode() == expected
        assert not is_offline_mode()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # HF_HUB_OFFLINE=1
    with hub_rules():
        assert is_offline_mode()
