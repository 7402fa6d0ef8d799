"""The page in a real browser: files dropped on it, links opened, pages turned, keys pressed."""

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from cxr_gradcam.phantom import draw_phantom
from tests.e2e.browsing import visit, visit_elsewhere

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = visit(browser, address)
    page.get_by_text("Drop chest X-rays here").wait_for()
    yield page
    page.close()


def drop(page: Any, name: str, data: bytes) -> None:
    """Drop a file on the dropzone, as a hand would."""
    transfer = page.evaluate_handle(
        """([name, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    zones = "document.querySelectorAll('[data-testid=stFileUploaderDropzone]').length === 1"
    page.wait_for_function(zones)  # while a page makes way for another, both have one
    zone = page.get_by_test_id("stFileUploaderDropzone")
    for event in ("dragenter", "dragover", "drop"):
        zone.dispatch_event(event, {"dataTransfer": transfer})


def png_of(seed: int) -> bytes:
    pixels = np.rint(draw_phantom("COVID", seed).radiograph.pixels * 255).astype(np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def dicom_of(seed: int, photometric: str = "MONOCHROME1") -> bytes:
    """A radiograph as a detector sends it: 12 bits, bright where the air is."""
    pixels = np.rint((1 - draw_phantom("Normal", seed).radiograph.pixels) * 4095).astype("<u2")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    file.Modality, file.PhotometricInterpretation = "DX", photometric
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelData = pixels.tobytes()
    data = BytesIO()
    file.save_as(data, enforce_file_format=True)
    return data.getvalue()


def wait_for_picture(page: Any, other_than: str = "") -> str:
    """Wait until the heatmap's canvas is painted, and not as before; return what is on it."""
    canvas = page.locator(".st-key-explain canvas.film").nth(1)
    for _ in range(150):
        if canvas.count() and canvas.get_attribute("data-scale"):
            painted = str(canvas.evaluate("(canvas) => canvas.toDataURL()"))
            if painted != other_than:
                return painted
        page.wait_for_timeout(200)
    pytest.fail("the heatmap was not painted anew")


def heading(page: Any, name: str) -> None:
    page.get_by_role("heading", name=name, exact=True).wait_for()


def settle(page: Any) -> None:
    """Wait until the server has answered what was just done."""
    page.wait_for_timeout(300)
    page.locator("[data-test-script-state='notRunning']").wait_for()


def turn_to(page: Any, title: str) -> None:
    page.get_by_test_id("stTopNavLink").filter(has_text=title).click()


def test_the_first_film_waits_for_no_program(page: Any) -> None:
    page.locator("[data-test-script-state='notRunning']").wait_for()
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    drop(page, "film.png", png_of(2))
    wait_for_picture(page)
    page.locator("[data-test-script-state='notRunning']").wait_for()
    programs = [url for url in asked if url.endswith(".js") and "/axios." not in url]  # sends files
    assert programs == []


def test_png_dicom_and_a_broken_file_dropped(page: Any) -> None:
    drop(page, "phantom.png", png_of(5))
    heading(page, "phantom.png")
    first = wait_for_picture(page)
    drop(page, "detector.dcm", dicom_of(6))
    heading(page, "detector.dcm")
    page.get_by_text("DICOM · 256 × 256 px").wait_for()
    second = wait_for_picture(page, first)

    drop(page, "broken.png", png_of(5)[:3000])
    page.get_by_text("broken.png is damaged or incomplete: copy or export it again.").wait_for()
    heading(page, "detector.dcm")
    page.locator(".st-key-class").get_by_text("Viral Pneumonia", exact=True).click()
    wait_for_picture(page, second)
    assert page.get_by_text("Research use only, not for clinical use.").count() > 0


def test_a_copied_link_opens_the_same_view_in_another_browser(
    browser: Any, page: Any, address: str
) -> None:
    def choose(key: str, words: str) -> None:
        box = page.locator(f".st-key-{key} input")
        box.click()
        box.fill(words)
        box.press("Enter")
        settle(page)

    choose("dataset_class", "Normal")
    choose("dataset_file", "Normal-phantom-6")
    heading(page, "Normal-phantom-6.png")
    before = wait_for_picture(page)
    page.locator(".st-key-class").get_by_text("COVID", exact=True).click()
    wait_for_picture(page, before)
    choose("layer", "denseblock4")
    page.get_by_text("COVID · Grad-CAM · denseblock4").first.wait_for()
    page.wait_for_function("location.search.includes('layer=denseblock4')")
    link = page.evaluate("location.href")
    assert "file=Normal%2FNormal-phantom-6.png" in link

    other = visit_elsewhere(browser, link)
    heading(other, "Normal-phantom-6.png")
    other.get_by_text("COVID · Grad-CAM · denseblock4").first.wait_for()
    wait_for_picture(other)
    assert sent_films(other) == sent_films(page)
    other.context.close()

    lost = visit_elsewhere(browser, f"{address}/?file=Normal/../../secret.png")
    lost.get_by_text("There is no Normal/../../secret.png in the dataset").wait_for()
    lost.context.close()


def test_a_warning_that_comes_leaves_the_pictures_mounted(page: Any) -> None:
    drop(page, "film.png", png_of(2))
    first = wait_for_picture(page)
    canvas = page.locator(".st-key-explain canvas.film").nth(1)
    canvas.evaluate("(canvas) => { canvas.dataset.mine = 'yes'; }")
    drop(page, "negative.dcm", dicom_of(6, "MONOCHROME2"))
    page.get_by_text("does not look like").wait_for()
    wait_for_picture(page, first)
    assert canvas.get_attribute("data-mine") == "yes"


def sent_films(page: Any) -> list[str]:
    """The digests of the films on the page."""
    hosts = page.locator("[class*='st-key-film_']")
    return sorted(hosts.evaluate_all("(all) => all.map((one) => one.className)"))


def test_the_radiograph_stays_from_page_to_page(page: Any) -> None:
    drop(page, "mine.png", png_of(7))
    heading(page, "mine.png")
    for title in ("Compare", "Dataset", "Model"):
        turn_to(page, title)
        page.wait_for_function(f"location.pathname === '/{title.lower()}'")
        page.get_by_alt_text("Current radiograph: mine.png").wait_for()
        page.locator(".cxr-foot").get_by_text("Research use only, not for").first.wait_for()
    drop(page, "second.png", png_of(8))  # on the page "Model"
    page.get_by_alt_text("Current radiograph: second.png").wait_for()
    turn_to(page, "Explain")
    heading(page, "second.png")
    wait_for_picture(page)


def test_the_back_button_goes_back_to_the_start(page: Any) -> None:
    page.get_by_role("button", name="Lung Opacity 1", exact=True).click()
    page.wait_for_function("location.search === '?sample=Lung_Opacity-1'")
    heading(page, "Lung Opacity phantom 1")
    page.wait_for_timeout(3500)  # before that it could be a click that is late
    page.go_back()
    page.get_by_text("Or try a phantom").wait_for()
    assert page.evaluate("location.search") == ""


def test_a_phantom_by_keyboard_and_its_lesion(page: Any, address: str) -> None:
    tile = page.get_by_role("button", name="Lung Opacity 1", exact=True)
    tile.focus()
    page.keyboard.press("Enter")
    heading(page, "Lung Opacity phantom 1")
    page.wait_for_function("location.search === '?sample=Lung_Opacity-1'")
    page.locator(".st-key-lesion").get_by_text("Show the planted lesion").click()
    page.get_by_text("Best overlap (IoU)").wait_for()
    page.locator(".st-key-explain").get_by_role("button", name="Lesion").first.wait_for()

    page.goto(f"{address}/?sample=Normal-0")
    heading(page, "Normal phantom 0")


def test_a_tile_far_down_opens_the_page_from_its_top(page: Any) -> None:
    page.set_viewport_size({"width": 1024, "height": 500})
    tile = page.get_by_role("button", name="Viral Pneumonia 2", exact=True)
    tile.scroll_into_view_if_needed()
    scrolled = "document.querySelector('[data-testid=stMain]').scrollTop"
    assert page.evaluate(scrolled) > 100
    tile.click()
    wait_for_picture(page)
    settle(page)  # only then does the invitation go, and with it its place
    assert page.evaluate(scrolled) == 0
    page.get_by_test_id("stMain").evaluate("(main) => main.scrollTo(0, 150)")
    page.locator(".st-key-class").get_by_text("COVID", exact=True).click()
    settle(page)
    assert page.evaluate(scrolled) == 150  # only what follows the start begins at its top


def test_the_page_asks_no_other_machine_for_anything(page: Any, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.get_by_role("button", name="Normal 0", exact=True).click()
    page.get_by_text("Predicted class").wait_for()
    wait_for_picture(page)
    for title in ("Compare", "Dataset", "Model"):
        turn_to(page, title)
        page.wait_for_function(f"location.pathname === '/{title.lower()}'")
    page.get_by_role("heading", name="Layers").wait_for()
    ours = (address, address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(ours)] == []


def choose_method(page: Any, label: str) -> None:
    page.get_by_role("combobox", name="Method").click()
    page.get_by_role("option", name=label, exact=True).click()


@pytest.mark.parametrize("opened", ["Score-CAM", "Grad-CAM"])
def test_another_method_stops_scorecam(browser: Any, bare_address: str, opened: str) -> None:
    """Its hundreds of passes take a minute or more with the bundled model."""
    page = visit(browser, f"{bare_address}/?sample=COVID-0&method={opened}")
    if opened != "Score-CAM":
        page.get_by_text("COVID · Grad-CAM · norm5").first.wait_for()
        choose_method(page, "Score-CAM")
    bar = page.get_by_text("of its passes")
    bar.wait_for()
    sides = page.locator(".st-key-workbench")
    assert sides.evaluate("(one) => one.children.length") == 2  # nothing of the last run beside it
    choose_method(page, "HiResCAM")
    page.get_by_text("COVID · HiResCAM · norm5").first.wait_for(timeout=15_000)
    assert bar.count() == 0
    page.close()
