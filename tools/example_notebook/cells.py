"""What docs/example.ipynb says: text and code, a cell each."""

TEXT, CODE = "markdown", "code"
CELLS: list[tuple[str, str]] = [
    (
        TEXT,
        "# sedimental in a notebook\n\n"
        "The demo corpus ships with the package: 240 short clips of drawn faces and machine "
        "voices. Its encoders have **random weights**, so the numbers show that the machinery "
        "works and nothing else. With your own clips only the pipeline file is another.\n\n"
        "Written by `make notebook`, which runs every cell.",
    ),
    (
        CODE,
        "from pathlib import Path\n\n"
        "import sedimental\n\n"
        'Path("pipeline.toml").write_text("""\n'
        "[corpus]\n"
        'kind = "demo"\n\n'
        "[[features]]\n"
        'modality = "text"\n'
        'encoder = "tiny-bert"\n\n'
        "[[features]]\n"
        'modality = "audio"\n'
        'encoder = "tiny-wavlm"\n'
        "rate = 5\n\n"
        "[train]\n"
        'models = ["uegd", "lf_dnn"]\n'
        'modalities = ["TA", "T", "A"]\n'
        "seeds = [1, 2]\n"
        "epochs = 15\n\n"
        "[train.inputs]\n"
        'text = { encoder = "tiny-bert", layers = "weighted" }\n'
        'audio = { encoder = "tiny-wavlm", layers = -1 }\n'
        '""")\n'
        'config = sedimental.load_config("pipeline.toml")\n'
        "config",
    ),
    (TEXT, "What will it take, and is anything in the way?"),
    (CODE, "sedimental.doctor(config, probe=False)"),
    (
        TEXT,
        "Extract once: every layer's hidden states of every clip. What is there is not made again.",
    ),
    (CODE, "sedimental.extract(config)"),
    (
        TEXT,
        "A store gives layers as arrays: all frames of the last block, and where each clip begins.",
    ),
    (
        CODE,
        "from sedimental.cache.store.store import list_stores\n\n"
        "store = sedimental.open_store(list_stores(config.cache.root)[0])\n"
        "layer = store.layer(-1)\n"
        "store.spec.encoder, layer.values.shape, layer.offsets[:5]",
    ),
    (TEXT, "Which layers carry the sentiment? A linear probe of each takes seconds."),
    (CODE, "probe = sedimental.probe(config)\nprobe"),
    (TEXT, "Light models train on the cached layers, a run a model, subset and seed."),
    (CODE, "runs = sedimental.train(config)\nruns"),
    (
        TEXT,
        "The report: mean and spread over seeds, beside what needs no features and the best "
        "probe. `report.to_frame()` gives the same as a DataFrame where pandas is installed.",
    ),
    (CODE, "report = sedimental.evaluate(config)\nreport"),
    (
        CODE,
        "figures = {figure.key: figure for figure in sedimental.figures(report)}\n"
        'print(*figures, sep=", ")\n'
        "next(iter(figures.values()))",
    ),
    (TEXT, "Is the difference more than the choice of test clips?"),
    (CODE, 'sedimental.compare("uegd TA", "uegd A", config)'),
    (TEXT, "Any key can be another without touching the file."),
    (
        CODE,
        'other = sedimental.load_config("pipeline.toml", {"train.models": ["tfn"], '
        '"train.seeds": [1]})\n'
        "sedimental.train(other)",
    ),
    (TEXT, "A trained run on a clip that it has not seen (here: one of the demo's own)."),
    (
        CODE,
        'clip = next(Path(sedimental.__path__[0]).glob("extract/corpora/demo/Raw/*/0001.mp4"))\n'
        'sedimental.predict("uegd TA", sedimental.NewClip(clip, "It was wonderful."), '
        'experiment="runs/demo")',
    ),
]
