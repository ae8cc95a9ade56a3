"""While a stack waits for its design effects: when the pods' histories are read, and what is said meanwhile."""

from __future__ import annotations

from datetime import timedelta

from support.world import FLAG, World, settled_world, stack


def waiting() -> World:
    """A young stack with traffic, whose flag is in the spec already."""
    world = World(stack())
    world.run(5)
    world.edit(features=FLAG)
    assert world.run(30, until=lambda w: w.phase == "Calibrating")
    return world


def test_histories_are_read_only_around_the_half_minutes_at_which_they_grow():
    world = waiting()
    read = []
    for _ in range(120):
        read.append(world.decision.history)
        world.tick()
        if world.flagged:
            break
    marks = [moment for moment, asked in enumerate(read) if asked and not read[moment - 1]]
    assert 3 <= len(marks) <= 5
    grown = read[30:]  # at first there is nothing to be read, so asking costs nothing
    assert sum(grown) < len(grown) / 3


def test_the_flip_comes_within_five_seconds_of_the_last_block_that_was_lacking():
    world = waiting()
    assert world.run(200, until=lambda w: bool(w.flagged))
    assert world.now.timestamp() % 30 <= 5


def test_between_two_readings_the_sentence_stays_and_nothing_is_assumed():
    """Even when the patience of ten minutes is over: without the histories nothing can be told of them."""
    world = waiting()
    world.run(40)
    assert "not enough history yet for recall, store" in world.status.message
    said = world.status.message
    while world.decision.history:
        world.tick()
    world.now += timedelta(minutes=20)
    decision = world.round()
    assert decision.history
    assert (world.phase, world.status.message) == ("Calibrating", said)
    world.run(5)
    assert world.flagged


def test_traffic_that_begins_between_two_readings_is_noticed_at_once():
    world = World(stack())
    world.run(5, traffic=False)
    world.edit(features=FLAG)
    world.run(33, traffic=False)
    assert "no traffic yet" in world.status.message
    while world.decision.history:
        world.tick(traffic=False)
    world.tick()
    assert "not enough history yet" in world.status.message


def test_a_stack_with_a_history_is_flipped_at_the_first_reading_of_it():
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(4, until=lambda w: bool(w.flagged))


def test_after_a_jump_of_the_clock_back_the_histories_are_asked_for_again():
    world = waiting()
    while world.decision.history:
        world.tick()
    world.now -= timedelta(hours=1)
    assert world.round().history
