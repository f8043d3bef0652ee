import numpy as np

from mitsugo.report.tables import class_centres, confused_pairs, most_confused, recalls


def test_recall_is_the_share_of_the_row_on_the_diagonal():
    assert recalls(np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])) == (0.75, None, 0.5)


def test_pairs_come_by_count_and_no_pair_comes_without_one():
    confusion = np.array([[9, 2, 0], [5, 1, 2], [0, 0, 4]])
    pairs = [(pair.true, pair.predicted, pair.count, pair.of) for pair in confused_pairs(confusion, 9)]
    assert pairs == [(1, 0, 5, 8), (0, 1, 2, 11), (1, 2, 2, 8)]
    assert len(confused_pairs(confusion, 1)) == 1
    assert confused_pairs(np.diag([4, 4]), 9) == ()


def test_a_centre_is_an_image_of_its_class_nearest_to_the_median():
    rng = np.random.default_rng(0)
    flat, labels = rng.normal(size=(50, 2)).astype(np.float32), rng.integers(0, 4, 50) * 2
    centres = class_centres(flat, labels)
    assert list(centres) == [0, 2, 4, 6]
    for label, index in centres.items():
        median = np.median(flat[labels == label], axis=0)
        distances = {i: np.hypot(*(flat[i] - median)) for i in range(50) if labels[i] == label}
        assert index == min(distances, key=distances.__getitem__)


def test_a_matrix_of_many_classes_shows_the_most_confused_in_their_order():
    assert most_confused(np.eye(60, dtype=np.int64)).tolist() == list(range(60))
    counts = np.diag(np.full(70, 5))
    counts[69, 65] = 3
    counts[62, 69] = 1
    assert most_confused(counts).tolist() == [*range(57), 62, 65, 69]


def test_classes_that_do_not_occur_are_left_out_of_a_large_matrix():
    confusion = np.zeros((20, 20), dtype=np.int64)
    confusion[3, 3], confusion[3, 7] = 4, 1
    assert most_confused(confusion).tolist() == [3, 7]
    assert most_confused(confusion[:12, :12]).tolist() == list(range(12)), "a small one is shown whole"
