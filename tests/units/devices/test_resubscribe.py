"""caproto's thread that subscribes again survives a channel that is lost at that moment."""

from types import SimpleNamespace

from caproto.threading.client import Context, SharedBroadcaster, Subscription

from slads_bluesky.devices.resubscribe import keep_subscriptions


class Circuit:
    def send(self, *commands):
        raise AssertionError(f"nothing to ask for, and yet {commands}")


def test_subscription_of_a_lost_channel_is_passed_over_and_the_thread_lives():
    keep_subscriptions()
    keep_subscriptions()  # again does no harm
    broadcaster = SharedBroadcaster()
    context = Context(broadcaster)
    try:
        lost = Subscription(
            SimpleNamespace(_circuit_manager=None, _channel=None, context=context), 0, 0, 0, 0, 0, 0
        )
        lost.callbacks[0] = print
        with context.subscriptions_lock:
            context.subscriptions_to_activate[Circuit()] = {lost}
        context.activate_subscriptions_now.set()
        context._activate_subscriptions_thread.join(1.0)
        assert not context.subscriptions_to_activate
        assert context._activate_subscriptions_thread.is_alive()
    finally:
        context.disconnect()
        broadcaster.disconnect()
