from typing import Any

import pytest
from pydantic import ValidationError

from miex.pipeline.experiments.claims import judge_claims
from miex.pipeline.experiments.config import Experiment, load_experiment


def experiment(**claim: Any) -> Experiment:
    given = {"text": "More is better", "better": ["much"], "than": ["little", "nothing"]} | claim
    return Experiment.model_validate(
        {
            "name": "toy",
            "title": "Toy",
            "paper": "none",
            "place": "",
            "protocol": "loso",
            "metrics": ["uf1"],
            "rows": [{"name": name} for name in ("much", "little", "nothing")],
            "columns": [{"name": "STSTNet"}],
            "claims": [given],
        }
    )


def cell(row: str, *scores: float) -> dict[str, Any]:
    runs = {str(seed): {"uf1": score} for seed, score in enumerate(scores)}
    return {"row": row, "column": "STSTNet", "runs": runs}


@pytest.mark.parametrize(
    ("much", "verdict"),
    [
        ((0.6, 0.7), "confirmed, difference +0.150 ± 0.071 over 2 seeds"),
        ((0.4, 0.5), "not decided, difference -0.050 ± 0.071 over 2 seeds"),
        ((0.3, 0.4), "contradicted, difference -0.150 ± 0.071 over 2 seeds"),
        ((0.3,), "not decided, as there are fewer than two seeds in common"),
        ((), "not computed ('much')"),
    ],
)
def test_claims_are_judged_by_the_deviation_of_paired_seeds(
    much: tuple[float, ...], verdict: str
) -> None:
    cells = [cell("much", *much), cell("little", 0.6, 0.6), cell("nothing", 0.4, 0.4)]
    assert judge_claims(experiment(), cells) == [f"More is better: STSTNet: {verdict}"]


def test_a_claim_names_rows_that_exist() -> None:
    with pytest.raises(ValidationError, match="names row 'many'; there are: little, much, nothing"):
        experiment(better=["many"])


def test_real_flow_has_claims() -> None:
    texts = [claim.text for claim in load_experiment("real_flow").claims]
    assert "Pretraining and fine-tuning are better than clips alone" in texts
