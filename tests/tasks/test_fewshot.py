from flan_jax.tasks import generator
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.fewshot import Pool


def test_every_row_but_the_examples_own_comes_once():
    pool = Pool("t", generator(lambda split: ({"n": number} for number in range(30))))
    orders = set()
    for number in range(30):
        order = [row["n"] for _, row in pool.order(f"train:{number}", RandomChoices(0, "t", 0))]
        assert sorted(order) == [other for other in range(30) if other != number]
        orders.add(tuple(order[:3]))
    assert len(orders) > 25
    assert [row["n"] for _, row in pool.order("validation:3", RandomChoices(0, "t", 0))] != list(range(30))


def test_a_pool_of_the_example_alone_is_empty():
    pool = Pool("t", generator(lambda split: [{"n": 1}]))
    assert list(pool.order("train:0", RandomChoices(0, "t", 0))) == []
