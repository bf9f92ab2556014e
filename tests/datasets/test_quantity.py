from miex.datasets.quantity import quantity


def test_the_noun_has_the_number_of_the_count():
    assert [quantity(count, "clip") for count in (0, 1, 2, 2000)] == [
        "0 clips",
        "1 clip",
        "2 clips",
        "2,000 clips",
    ]
    assert quantity(3, "identity") == "3 identities"
    assert quantity(1, "AU pair") == "1 AU pair"
    assert quantity(4, "AU pair") == "4 AU pairs"
    assert quantity(2, "person") == "2 people"
    assert quantity(2, "survey day") == "2 survey days"
