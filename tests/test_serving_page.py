"""The page in a real browser with a microphone that plays a file: what it shows is what the models say."""

import shutil
import time

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra `server`")
pytest.importorskip("selenium", reason="needs selenium")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from servers import CLIPS, FIRST, SMALL, running_server

import speechrnn as sr
from speechrnn import audio
from speechrnn.models import loading
from speechrnn.tasks.recognition import formats

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver is installed")

KEY = "a-key-that-nobody-else-has"


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A recording of some words, which the microphone plays, too."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    audio.write(path, np.concatenate([audio.read(clip, sample_rate=16000)[0] for clip in CLIPS[:5]]), 16000)
    return path


@pytest.fixture(scope="module")
def url():
    with running_server(["default", str(FIRST / "classifier.onnx")]) as (url, _):
        yield url


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(talk, downloads):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900",
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={talk}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, url):
    """The page, ready; in the end nothing may have gone wrong in it, and nothing been asked of others."""
    browser.get(url)
    until(browser, lambda: browser.find_element(By.ID, "speak").is_displayed())
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    asked = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert asked and all(name.startswith((url, "blob:")) for name in asked)


def until(browser, true, seconds=30):
    return WebDriverWait(browser, seconds, 0.05).until(lambda _: true())


def card(page, name):
    """The card of a file once it is complete."""
    path = f"//article[not(@aria-busy)][.//h3[text()='{name}']]"
    return until(page, lambda: next(iter(page.find_elements(By.XPATH, path)), None))


def shown_pixels(canvas):
    """How many colors a canvas shows."""
    return canvas.parent.execute_script(
        "const c = arguments[0]; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return new Set(new Uint32Array(d.buffer)).size",
        canvas,
    )


def test_a_recording_is_shown_with_its_words_times_and_subtitles(page, talk, downloads):
    said = sr.transcribe(talk)
    page.find_element(By.ID, "recordings").send_keys(str(talk))
    found = card(page, "talk.wav")
    assert found.find_element(By.CLASS_NAME, "text").text == said.text
    labels = [button.accessible_name for button in found.find_elements(By.CSS_SELECTOR, ".words button")]
    assert len(labels) == len(said.words)
    for label, word in zip(labels, said.words, strict=True):
        assert label.startswith(f"{word.word}, {word.start:.2f} seconds, ") and label.endswith("play from here")
    (canvas,) = found.find_elements(By.TAG_NAME, "canvas")
    assert canvas.accessible_name.startswith("Spectrogram of talk.wav") and shown_pixels(canvas) > 100
    found.find_element(By.XPATH, ".//button[text()='.srt']").click()
    until(page, (downloads / "talk.srt").exists)
    assert (downloads / "talk.srt").read_text() == formats.render(said, "srt")


def test_words_appear_while_they_are_said_and_then_the_whole(page):
    start = page.find_element(By.ID, "listen")
    start.send_keys(Keys.ENTER)  # as somebody without a mouse does
    until(page, lambda: start.get_attribute("aria-pressed") == "true")
    until(page, lambda: page.find_element(By.ID, "said").text.strip())
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    found = card(page, "recording-1.wav")
    assert start.get_attribute("aria-pressed") == "false" and start.text == "Start listening"
    assert page.find_element(By.ID, "final").text
    assert found.find_elements(By.CSS_SELECTOR, "canvas") and found.find_elements(By.TAG_NAME, "audio")


def test_a_record_is_classified_and_drawn(page, tmp_path, rng):
    path = tmp_path / "record.npz"
    sr.signals.write(path, rng.standard_normal((200, 2)), 50.0)
    own = loading.load_session(FIRST / "classifier.onnx").classify(path)
    page.find_element(By.ID, "signals").send_keys(str(path))
    found = card(page, "record.npz")
    assert found.find_element(By.CLASS_NAME, "text").text == own.label
    rows = [row.text.split() for row in found.find_elements(By.CSS_SELECTOR, "tbody tr")]
    expected = sorted(zip(own.probabilities.tolist(), own.classes, strict=True), reverse=True)
    assert rows == [[name, f"{100 * probability:.1f}", "%"] for probability, name in expected]
    assert shown_pixels(found.find_element(By.TAG_NAME, "canvas")) > 2


def test_a_file_that_is_no_recording_is_told_of(browser, url, tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("no sound")
    browser.get(url)
    until(browser, lambda: browser.find_element(By.ID, "speak").is_displayed())
    browser.find_element(By.ID, "recordings").send_keys(str(path))
    alert = card(browser, "notes.wav").find_element(By.CSS_SELECTOR, "[role=alert]")
    assert "notes.wav: cannot be decoded as audio" in alert.text
    browser.get_log("browser")  # which tells of the refusal


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_everything_has_a_name_fits_and_can_be_read(page, width, dark):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    for one in page.find_elements(By.CSS_SELECTOR, "button, input, select, canvas, [role=group]"):
        assert one.accessible_name or not one.is_displayed(), one.get_attribute("outerHTML")
    for one in page.find_elements(By.CSS_SELECTOR, "button, select"):
        assert one.size["height"] >= 44 or not one.is_displayed()  # a finger's width
    for element in page.find_elements(By.CSS_SELECTOR, "h1, .soft, .main, .drop b"):
        if element.is_displayed():
            assert contrast(page, element) >= 4.5, element.text  # WCAG 2, level AA
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def contrast(page, element):
    """Ratio of luminances of a text and of what is behind it (WCAG 2.2, 1.4.3)."""
    script = """
        const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
        let behind = arguments[0];
        while (behind && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
        return [getComputedStyle(arguments[0]).color, getComputedStyle(behind).backgroundColor].map(parse);
    """
    levels = []
    for color in page.execute_script(script, element):
        part = np.array(color[:3]) / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        levels.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(levels) + 0.05) / (min(levels) + 0.05)


def test_a_server_with_keys_asks_for_one(browser, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    with running_server([SMALL], keys=str(keys)) as (url, _):
        browser.get(url)
        until(browser, lambda: browser.find_element(By.ID, "key").is_displayed())
        assert not browser.find_element(By.ID, "speak").is_displayed()
        browser.find_element(By.ID, "secret").send_keys(KEY, Keys.ENTER)
        until(browser, lambda: browser.find_element(By.ID, "speak").is_displayed())
        browser.find_element(By.ID, "listen").click()
        until(browser, lambda: browser.find_element(By.ID, "listen").get_attribute("aria-pressed") == "true")
        time.sleep(0.5)
        browser.find_element(By.ID, "listen").click()
        assert card(browser, "recording-1.wav").find_elements(By.CLASS_NAME, "text")
    browser.get_log("browser")


def test_the_page_and_its_files_forbid_everything_else(url):
    import httpx2 as httpx

    for path in ("/", "/page/main.js"):
        answer = httpx.get(url + path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert httpx.get(f"{url}/page/..%2f..%2foptions.py").status_code == 404
    assert httpx.get(f"{url}/page/none.js").status_code == 404
