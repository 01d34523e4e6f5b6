"""The fusion models that there are: file and class, paper, and what each needs, in this one place.

An installed package adds models by entry points of the group ``sedimental.models``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .registries import of_packages

Need = Literal["common steps", "live text", "unimodal labels", "missing rates"]
"""``common steps``: reads modalities side by side, laid on the same steps where they are not
aligned. ``live text``: works inside a text encoder that is trained along. ``unimodal labels``:
learns from labels of single modalities, and less without. ``missing rates``: made for frames that
go missing."""


@dataclass(frozen=True)
class Paper:
    """Where a model was published."""

    title: str
    authors: str
    """As BibTeX separates them: ``A B and C D``."""
    venue: str
    year: int
    journal: bool = False
    """Whether `venue` is one; else it is a conference."""
    arxiv: str = ""
    doi: str = ""

    def bibtex(self, key: str) -> str:
        """The entry, under `key`."""
        kind, where = ("article", "journal") if self.journal else ("inproceedings", "booktitle")
        fields = {
            "title": f"{{{self.title}}}",  # whose capitals are to stay
            "author": self.authors,
            where: self.venue,
            "year": str(self.year),
            "doi": self.doi,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{kind}{{{key},", *lines, "}"])


@dataclass(frozen=True)
class Model:
    """One fusion model."""

    place: str
    """Module below `train/models/` and class in it. Beside the class lie its `Options` and, where a
    paper gives them, `PRESETS` (options by corpus), `RECIPE` and `RECIPES` (how it is trained; by
    corpus), `ENCODER` and `ENCODERS` (the same of encoders that are trained along)."""
    paper: Paper | None = None
    """None: no paper's own model, but what papers compare with, or a package's."""
    needs: tuple[Need, ...] = ()


_ACL = "Annual Meeting of the Association for Computational Linguistics"
_EMNLP = "Conference on Empirical Methods in Natural Language Processing"
_MM = "ACM International Conference on Multimedia"
_AAAI = "AAAI Conference on Artificial Intelligence"
_SIMS = Paper(
    "CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of "
    "Modality",
    "Wenmeng Yu and Hua Xu and Fanyang Meng and Yilin Zhu and Yixiao Ma and Jiele Wu and "
    "Jiyun Zou and Kaicheng Yang",
    _ACL,
    2020,
    doi="10.18653/v1/2020.acl-main.343",
)

MODELS: dict[str, Model] = {
    "uegd": Model(
        "uegd:UEGD",
        Paper(
            "On the Use of Modality-Specific Large-Scale Pre-Trained Encoders for Multimodal "
            "Sentiment Analysis",
            "Atsushi Ando and Ryo Masumura and Akihiko Takashima and Satoshi Suzuki and "
            "Naoki Makishima and Keita Suzuki and Takafumi Moriya and Takanori Ashihara and "
            "Hiroshi Sato",
            "IEEE Spoken Language Technology Workshop",
            2022,
            arxiv="2210.15937",
        ),
    ),
    "emt_dlfr": Model(
        "emt_dlfr.model:EMTDLFR",
        Paper(
            "Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust "
            "Multimodal Sentiment Analysis",
            "Licai Sun and Zheng Lian and Bin Liu and Jianhua Tao",
            "IEEE Transactions on Affective Computing",
            2024,
            journal=True,
            arxiv="2208.07589",
        ),
        ("missing rates",),
    ),
    "glomo": Model(
        "glomo:GLoMo",
        Paper(
            "GLoMo: Global-Local Modal Fusion for Multimodal Sentiment Analysis",
            "Yan Zhuang and others",
            _MM,
            2024,
            doi="10.1145/3664647.3681527",
        ),
    ),
    "sugrm": Model(
        "sugrm.model:SUGRM",
        Paper(
            "Self-Supervised Unimodal Label Generation Strategy Using Recalibrated Modality "
            "Representations for Multimodal Sentiment Analysis",
            "Yewon Hwang and Jong-Hwan Kim",
            "Findings of the Association for Computational Linguistics: EACL",
            2023,
        ),
    ),
    "mmml": Model(
        "mmml:MMML",
        Paper(
            "Multimodal Multi-loss Fusion Network for Sentiment Analysis",
            "Zehui Wu and Ziwei Gong and Jaywon Koo and Julia Hirschberg",
            "Conference of the North American Chapter of the Association for Computational "
            "Linguistics",
            2024,
            arxiv="2308.00264",
        ),
    ),
    "ef_lstm": Model("ef_lstm:EFLSTM", needs=("common steps",)),
    "lf_dnn": Model("lf_dnn:LFDNN"),
    "tfn": Model(
        "tfn:TFN",
        Paper(
            "Tensor Fusion Network for Multimodal Sentiment Analysis",
            "Amir Zadeh and Minghai Chen and Soujanya Poria and Erik Cambria and "
            "Louis-Philippe Morency",
            _EMNLP,
            2017,
            arxiv="1707.07250",
        ),
    ),
    "lmf": Model(
        "lmf:LMF",
        Paper(
            "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors",
            "Zhun Liu and Ying Shen and Varun Bharadhwaj Lakshminarasimhan and Paul Pu Liang and "
            "Amir Zadeh and Louis-Philippe Morency",
            _ACL,
            2018,
            arxiv="1806.00064",
        ),
    ),
    "mult": Model(
        "mult:MulT",
        Paper(
            "Multimodal Transformer for Unaligned Multimodal Language Sequences",
            "Yao-Hung Hubert Tsai and Shaojie Bai and Paul Pu Liang and J. Zico Kolter and "
            "Louis-Philippe Morency and Ruslan Salakhutdinov",
            _ACL,
            2019,
            arxiv="1906.00295",
        ),
    ),
    "misa": Model(
        "misa:MISA",
        Paper(
            "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment "
            "Analysis",
            "Devamanyu Hazarika and Roger Zimmermann and Soujanya Poria",
            _MM,
            2020,
            arxiv="2005.03545",
        ),
    ),
    "self_mm": Model(
        "self_mm:SelfMM",
        Paper(
            "Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning "
            "for Multimodal Sentiment Analysis",
            "Wenmeng Yu and Hua Xu and Ziqi Yuan and Jiele Wu",
            _AAAI,
            2021,
            arxiv="2102.04830",
        ),
    ),
    "mmim": Model(
        "mmim:MMIM",
        Paper(
            "Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for "
            "Multimodal Sentiment Analysis",
            "Wei Han and Hui Chen and Soujanya Poria",
            _EMNLP,
            2021,
            arxiv="2109.00412",
        ),
    ),
    "tfr_net": Model(
        "tfr_net:TFRNet",
        Paper(
            "Transformer-based Feature Reconstruction Network for Robust Multimodal Sentiment "
            "Analysis",
            "Ziqi Yuan and Wei Li and Hua Xu and Wenmeng Yu",
            _MM,
            2021,
        ),
        ("missing rates",),
    ),
    "mag_bert": Model(
        "mag_bert:MAGBert",
        Paper(
            "Integrating Multimodal Information in Large Pretrained Transformers",
            "Wasifur Rahman and Md Kamrul Hasan and Sangwu Lee and Amir Zadeh and Chengfeng Mao "
            "and Louis-Philippe Morency and Ehsan Hoque",
            _ACL,
            2020,
            arxiv="1908.05787",
        ),
        ("live text",),
    ),
    "mlf_dnn": Model("mlf_dnn:MLFDNN", _SIMS, ("unimodal labels",)),
    "mtfn": Model("mtfn:MTFN", _SIMS, ("unimodal labels",)),
    "mlmf": Model("mlmf:MLMF", _SIMS, ("unimodal labels",)),
    "mfn": Model(
        "mfn:MFN",
        Paper(
            "Memory Fusion Network for Multi-view Sequential Learning",
            "Amir Zadeh and Paul Pu Liang and Navonil Mazumder and Soujanya Poria and "
            "Erik Cambria and Louis-Philippe Morency",
            _AAAI,
            2018,
            arxiv="1802.00927",
        ),
        ("common steps",),
    ),
    "graph_mfn": Model(
        "graph_mfn:GraphMFN",
        Paper(
            "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable "
            "Dynamic Fusion Graph",
            "Amir Zadeh and Paul Pu Liang and Soujanya Poria and Erik Cambria and "
            "Louis-Philippe Morency",
            _ACL,
            2018,
        ),
        ("common steps",),
    ),
    "mfm": Model(
        "mfm:MFM",
        Paper(
            "Learning Factorized Multimodal Representations",
            "Yao-Hung Hubert Tsai and Paul Pu Liang and Amir Zadeh and Louis-Philippe Morency and "
            "Ruslan Salakhutdinov",
            "International Conference on Learning Representations",
            2019,
            arxiv="1806.06176",
        ),
        ("common steps",),
    ),
    "mctn": Model(
        "mctn:MCTN",
        Paper(
            "Found in Translation: Learning Robust Joint Representations by Cyclic Translations "
            "between Modalities",
            "Hai Pham and Paul Pu Liang and Thomas Manzini and Louis-Philippe Morency and "
            "Barnabas Poczos",
            _AAAI,
            2019,
            arxiv="1812.07809",
        ),
        ("common steps",),
    ),
    "tetfn": Model(
        "tetfn:TETFN",
        Paper(
            "TETFN: A Text Enhanced Transformer Fusion Network for Multimodal Sentiment Analysis",
            "Di Wang and Xutong Guo and Yumin Tian and Jinhui Liu and LiHuo He and Xuemei Luo",
            "Pattern Recognition",
            2023,
            journal=True,
        ),
    ),
    "cenet": Model(
        "cenet:CENet",
        Paper(
            "Cross-Modal Enhancement Network for Multimodal Sentiment Analysis",
            "Di Wang and Shuai Liu and Quan Wang and Yumin Tian and Lihuo He and Xinbo Gao",
            "IEEE Transactions on Multimedia",
            2023,
            journal=True,
        ),
        ("live text",),
    ),
    "almt": Model(
        "almt:ALMT",
        Paper(
            "Learning Language-guided Adaptive Hyper-modality Representation for Multimodal "
            "Sentiment Analysis",
            "Haoyu Zhang and Yu Wang and Guanghao Yin and Kejun Liu and Yuanyuan Liu and "
            "Tianshu Yu",
            _EMNLP,
            2023,
            arxiv="2310.05804",
        ),
    ),
    "lnln": Model(
        "lnln:LNLN",
        Paper(
            "Towards Robust Multimodal Sentiment Analysis with Incomplete Data",
            "Haoyu Zhang and Wenbin Wang and Tianshu Yu",
            "Advances in Neural Information Processing Systems",
            2024,
            arxiv="2409.20012",
        ),
        ("missing rates",),
    ),
}
"""Name in pipeline.toml -> the model."""
GROUP = "sedimental.models"
_FOUND = of_packages(GROUP, tuple(MODELS), "model", "_")
ADDED, FAULTS = _FOUND.places, _FOUND.faults
MODELS.update({name: Model(place) for name, place in ADDED.items()})


def paper_of(model: str) -> Paper | None:
    """The paper of `model`; None also of what is no fusion model."""
    return MODELS[model].paper if model in MODELS else None


def cite(models: Iterable[str]) -> str:
    """The papers of `models` as BibTeX, each once, under the name of its first model.

    >>> print(cite(["lf_dnn", "sugrm"]).splitlines()[0])
    @inproceedings{sugrm,
    """
    entries = dict[Paper, str]()
    for model in models:
        paper = paper_of(model)
        if paper is not None and paper not in entries:
            entries[paper] = paper.bibtex(model)
    return "\n\n".join(entries.values())
