"""The textbook loop does what replications do, and no less."""

from contextlib import ExitStack

from benchmarks import fixtures, textbook


def test_v_and_m_are_run_whole_at_every_step():
    vae, rnn = fixtures.fresh_vae("carracing"), fixtures.fresh_rnn("carracing")
    parts = [vae.encoder, vae.decoder, rnn.lstm, rnn.heads]
    runs = []
    with ExitStack() as hooks:
        for part in parts:
            hook = part.register_forward_hook(lambda part, *_: runs.append(id(part)))
            hooks.callback(hook.remove)
        assert textbook.car_racing(0)() == textbook.STEPS
    assert runs == [id(part) for part in parts] * textbook.STEPS
