"""Build the page of `miex app`: a photograph, 17 sliders, and what the generators make of them."""

from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_NAMES, AU_WORDS, MAX_INTENSITY
from miex.flows.terminal import describe
from miex.pipeline.playground.samples import save_sample
from miex.pipeline.playground.studio import Shot, Studio

_SIDE = 384
"""Side of the shown pictures in pixels."""

_FONTS = ["system-ui", "sans-serif"]
"""Fonts of the reader's machine: the page asks no other host for anything."""

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
#aus .form { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); }
/* The pictures stay in view while sliders further down are moved. */
#pictures { position: sticky; top: 8px; align-self: flex-start; }
.gradio-container, .gradio-container :has(#pictures) { overflow: visible !important; }
@media (max-width: 700px) {
  #pictures { order: -1; top: 0; z-index: 100; background: var(--body-background-fill); }
  #pictures .image-container { max-height: 170px; }
  #read td + td { white-space: normal; }
}
#read table { width: 100%; max-width: 640px; border-collapse: collapse; }
#read caption { text-align: left; padding: 4px 0; }
#read th, #read td { text-align: left; padding: 4px 8px; border-bottom: 1px solid #8884; }
#read th + th, #read td + td { text-align: right; white-space: nowrap; }
#read tr.moved { font-weight: 600; }
footer { display: none !important; }
"""


class AppPage:
    """The page, and what its buttons do.

    Args:
        studio: Faces, generators and estimator.
        samples: Dataset folder that saved samples are appended to.
    """

    def __init__(self, studio: Studio, samples: Path) -> None:
        self._studio, self._samples = studio, samples
        self._faces, self._generators = studio.faces(), studio.generators()
        self._tables = studio.tables()

    def build(self) -> gr.Blocks:
        """Return the page."""
        page = gr.Blocks(title="miex app", analytics_enabled=False)
        with page:
            gr.Markdown(
                "# miex\nMove the Action Units of a face. Everything shown here is **synthetic**."
            )
            with gr.Row():
                with gr.Column(scale=3, min_width=320):
                    chosen, upload, generator = self._inputs()
                    table, emotion, draw = self._expression()
                    sliders = self._sliders()
                    with gr.Row():
                        reset = gr.Button("All to 0", elem_id="reset")
                        save = gr.Button("Save as a sample", variant="primary", elem_id="save")
                with gr.Column(scale=2, min_width=320, elem_id="pictures"):
                    pictures = self._pictures()
            said = gr.Markdown(elem_id="said")
            read = gr.HTML(elem_id="read")
            shown = [*pictures, read, said]
            inputs = [chosen, generator, *sliders]
            for each in (chosen, generator):
                each.change(self._render, inputs, shown, api_visibility="private")
            for slider in sliders:
                slider.release(self._render, inputs, shown, api_visibility="private")
            draw.click(self._draw, [table, emotion], sliders, api_visibility="private").then(
                self._render, inputs, shown, api_visibility="private"
            )
            reset.click(
                lambda: [0.0] * len(AU_NAMES), None, sliders, api_visibility="private"
            ).then(self._render, inputs, shown, api_visibility="private")
            table.change(self._emotions, table, emotion, api_visibility="private")
            upload.upload(self._upload, upload, [chosen, said], api_visibility="private")
            save.click(self._save, [*inputs, table, emotion], said, api_visibility="private")
            page.load(self._render, inputs, shown, api_visibility="private")
        return page

    def _inputs(self) -> tuple[gr.Dropdown, gr.Image, gr.Radio]:
        chosen = gr.Dropdown(self._faces, value=self._faces[0], label="Face", elem_id="face")
        upload = gr.Image(label="or a photograph of your own", height=180, elem_id="upload")
        generator = gr.Radio(
            self._generators, value=self._generators[0], label="Generator", elem_id="generator"
        )
        return chosen, upload, generator

    def _expression(self) -> tuple[gr.Dropdown, gr.Dropdown, gr.Button]:
        first = "miex" if "miex" in self._tables else next(iter(self._tables))
        emotions = self._tables[first]
        with gr.Row():
            table = gr.Dropdown(list(self._tables), value=first, label="Table", elem_id="table")
            emotion = gr.Dropdown(emotions, value=emotions[0], label="Emotion", elem_id="emotion")
        return table, emotion, gr.Button("Draw Action Units", elem_id="draw")

    @staticmethod
    def _sliders() -> list[gr.Slider]:
        with gr.Group(elem_id="aus"):
            return [
                gr.Slider(0, MAX_INTENSITY, 0, step=0.1, label=f"{name} {words}", elem_id=name)
                for name, words in zip(AU_NAMES, AU_WORDS, strict=True)
            ]

    @staticmethod
    def _pictures() -> list[gr.Image]:
        names = ("onset", "apex", "motion", "difference")
        labels = ("Onset", "Apex", "Motion", "Change, 8 x")
        pictures = []
        for place in (0, 2):
            with gr.Row():
                pictures += [
                    gr.Image(
                        label=labels[n], elem_id=names[n], interactive=False, format="png",
                        min_width=150, buttons=["download", "fullscreen"],
                    )
                    for n in (place, place + 1)
                ]  # fmt: skip
        return pictures

    def _shot(self, face: str, generator: str, aus: tuple[float, ...]) -> Shot:
        try:
            return self._studio.render(face, generator, aus)
        except (KeyError, ValueError, OSError) as error:
            raise gr.Error(describe(error)) from None

    def _render(self, face: str, generator: str, *aus: float) -> list[Any]:
        shot = self._shot(face, generator, aus)
        pictures = [shot.onset, shot.apex, shot.motion_image(_SIDE), shot.difference(8)]
        said = (
            f"{generator}: the fastest 5 % of the pixels move by {shot.motion:.2f} pixels of 128."
        )
        return [*map(_large, pictures), self._read(shot), said]

    def _read(self, shot: Shot) -> str:
        rows = "".join(
            f"<tr{' class=moved' if wanted else ''}><td>{name} {words}</td><td>{wanted:.2f}</td>"
            f"<td>{'not measured' if np.isnan(got) else f'{round(got, 2) + 0:+.2f}'}</td></tr>"
            for name, words, wanted, got in zip(
                AU_NAMES, AU_WORDS, shot.aus, shot.read, strict=True
            )
        )
        return (
            f"<table><caption>Change of the AUs from onset to apex, as the estimator "
            f"{escape(self._studio.estimator)} reads it</caption>"
            f"<tr><th>Action Unit</th><th>requested</th><th>read back</th></tr>{rows}</table>"
        )

    def _draw(self, table: str, emotion: str) -> list[float]:
        seed = int(np.random.default_rng().integers(2**31))
        try:
            return [round(float(value), 2) for value in self._studio.draw(table, emotion, seed)]
        except ValueError as error:
            raise gr.Error(describe(error)) from None

    def _emotions(self, table: str) -> gr.Dropdown:
        return gr.Dropdown(self._tables[table], value=self._tables[table][0])

    def _upload(self, pixels: NDArray[np.uint8] | None) -> list[Any]:
        if pixels is None:
            return [gr.Dropdown(), ""]
        try:
            name = self._studio.add_photograph(pixels)
        except ValueError as error:
            return [gr.Dropdown(), f"This photograph cannot be used: {describe(error)}"]
        return [gr.Dropdown(self._studio.faces(), value=name), f"{name} is prepared."]

    def _save(self, face: str, generator: str, *rest: Any) -> str:
        *aus, table, emotion = rest
        try:
            shot = self._shot(face, generator, tuple(aus))
            name = save_sample(self._studio, shot, self._samples, emotion, table)
        except (ValueError, OSError) as error:
            raise gr.Error(describe(error)) from None
        return f"Saved {name} ({emotion}) in the dataset {self._samples}."


def launch(page: gr.Blocks, host: str, port: int, browser: bool) -> str:
    """Serve the page in the background, and return its address.

    Raises:
        OSError: The port is taken.
    """
    theme = gr.themes.Default(font=_FONTS, font_mono=["ui-monospace", "monospace"])
    _, address, _ = page.queue(default_concurrency_limit=1).launch(
        server_name=host,
        server_port=port,
        inbrowser=browser,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        theme=theme,
        css=CSS,
        footer_links=[],
    )
    return str(address)


def _large(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.shape[0] >= _SIDE:
        return pixels
    return np.asarray(cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
