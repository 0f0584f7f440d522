from . import FOLDER, render

scripts = dict(render())
for path in FOLDER.glob("*.sh"):
    if path.name not in scripts:
        path.unlink()
for name, text in scripts.items():
    (FOLDER / name).write_text(text, encoding="utf-8")
