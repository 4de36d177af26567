# SPDX-License-Identifier: MIT
"""The report's page, used as a person would, by clicks and keys in Chromium through chromedriver (WebDriver over HTTP).

    page.py PAGE ANYDMA CAPTURE PICTURES

What is shown at three moments, of the timeline's marker, the cards, the stacks, the call sites and the mappings, adds up to what
`anydma report --json --at TIME` says of that moment. Prints a TAP line for each behaviour; the pictures go to a folder."""
import base64, json, os, re, socket, subprocess, sys, time, urllib.request

page, anydma, capture, pictures = sys.argv[1:]
failures = 0

def result(name, holds, why=""):
    global failures
    print(("ok - " if holds else "not ok - ") + name, flush=True)
    if not holds:
        failures += 1
        print("    ", why)

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

port = free_port()
driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}, method=method)
    try:
        return json.load(urllib.request.urlopen(request, timeout=60))["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from None

for _ in range(600):  # until it listens
    try:
        call("GET", "/status")
        break
    except (urllib.error.URLError, ConnectionError):
        time.sleep(0.1)

def start(arguments=(), script=True):
    options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments]}
    if not script:
        options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
    wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}}
    return "/session/" + call("POST", "/session", wanted)["sessionId"]

class Page:
    def __init__(self, **how):
        self.session = start(**how)
        call("POST", self.session + "/url", {"url": "file://" + os.path.abspath(page)})
    def run(self, script, *args):
        return call("POST", self.session + "/execute/sync", {"script": script, "args": list(args)})
    def find(self, css):
        return next(iter(call("POST", self.session + "/element", {"using": "css selector", "value": css}).values()))
    def click(self, css):
        call("POST", f"{self.session}/element/{self.find(css)}/click", {})
    def type(self, css, text):
        call("POST", f"{self.session}/element/{self.find(css)}/value", {"text": text})
    def pointer(self, css, fractions):
        """Presses at the first fraction of the element's width, moves to the others, lets go."""
        box = self.run("const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.left, b.top, b.width, b.height]", css)
        at = [(int(box[0] + f * box[2]), int(box[1] + box[3] / 2)) for f in fractions]
        moves = [{"type": "pointerMove", "duration": 50, "x": x, "y": y} for x, y in at]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        call("POST", self.session + "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}]})
    def text(self, css):
        return self.run("return document.querySelector(arguments[0]).innerText", css)
    def keys(self, keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        call("POST", self.session + "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})
    def picture(self, name):
        with open(os.path.join(pictures, name), "wb") as file:
            file.write(base64.b64decode(call("GET", self.session + "/screenshot")))
    def size(self, width, height):
        call("POST", self.session + "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride",
             "params": {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}})
    def log(self):
        return [e["message"] for e in call("POST", self.session + "/se/log", {"type": "browser"}) if e["level"] in ("SEVERE", "WARNING")]
    def close(self):
        call("DELETE", self.session)

def report(at):
    out = subprocess.run([anydma, "report", "--json", "--at", at, capture], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)

try:
    p = Page()
    p.size(1400, 1000)
    shown = """const d = document, n = id => Number(d.getElementById(id).dataset.total);
        return {step: step, time: timeOf(step), when: n('when'), waste: Number(d.getElementById('when').dataset.waste), icicle: n('icicle'),
                sites: n('sites'), mappings: n('mappings'), nr: Number(d.getElementById('mappings').dataset.count),
                rects: d.querySelectorAll('#icicle rect').length, marker: Number(d.querySelector('.marker').getAttribute('x1')),
                card: d.querySelector('.card b').innerText}"""
    seen = []
    def compare(name, at):
        is_, want = p.run(shown), report(at if at else "%dns" % p.run("return timeOf(step)"))
        total = want["at"]["pinned"] + want["at"]["app_pinned"]
        rows = sum(s["pinned"] + s["app_pinned"] for s in want["sites"])
        maps = sum(m["bytes"] for m in want["mappings"])
        seen.append(is_)
        result(f"{name}: the timeline, cards, stacks, call sites and mappings show what the JSON says",
               is_["when"] == is_["icicle"] == is_["sites"] == is_["mappings"] == total == rows == maps and
               is_["waste"] == want["at"]["waste"] and is_["nr"] == len(want["mappings"]), (is_, want["at"], rows, maps))
    result("the title names the program and what it pins", re.search(r"\w+: .* pinned$", p.run("return document.title")), p.run("return document.title"))
    result("advice shows options as such", "`" not in p.text("#advice"), p.text("#advice"))
    compare("the peak", "peak")
    p.pointer("#timeline", [0.3])
    compare("a click in the timeline", None)
    p.pointer("#timeline", [0.3, 0.5, 0.62])
    compare("a drag to another moment", None)
    p.keys(["\ue012"])  # left
    compare("a key to the moment before", None)
    result("the marker moves with the moment", seen[1]["marker"] != seen[2]["marker"] and seen[3]["step"] == seen[2]["step"] - 1, seen)
    p.click("#peak")
    result("a button leads back to the peak", p.run("return step") == -1)
    p.keys(["\ue010"])  # end
    compare("the key for the end", "end")
    p.keys(["p"])
    result("a key leads back to the peak, too", p.run("return step") == -1)

    before = p.run("return zoomed")
    p.click("#in")
    after = p.run("return zoomed")
    result("the timeline zooms", after[1] - after[0] < before[1] - before[0])
    p.click("#whole")

    p.pointer("h1", [0.5])  # out of the way
    p.run("document.querySelector('#icicle').scrollIntoView({block: 'center'})")
    name = p.run("return document.querySelectorAll('#icicle g')[1].getAttribute('aria-label')")
    p.run("document.querySelectorAll('#icicle g')[1].focus()")
    result("a frame that has the focus is read out with its bytes", name.split(",")[0].split("  ")[0] in p.text("#detail"), (name, p.text("#detail")))
    p.keys(["\ue007"])  # enter
    result("Enter looks closer", p.run("return focus.length") == 1)
    p.click("#unzoom")
    deepest = p.run("const all = [...document.querySelectorAll('#icicle g')]; return all[all.length - 1].getAttribute('aria-label').split(/[ ,]/)[0]")
    p.type("#search", deepest[:12].upper())
    result("search finds whatever its case, and says how much", p.run("return document.querySelectorAll('#icicle .hit').length") > 0 and "%" in p.text("#found"),
           (deepest, p.text("#found")))
    p.run("document.getElementById('search').value = ''; drawIcicle()")
    labels = "return [...document.querySelectorAll('#icicle g')].map(g => g.getAttribute('aria-label')).join(';')"
    has_stacks = p.run("return data.sites.some(s => s.pinned + s.app_pinned && s.stack.length > 1)")
    upright = p.run(labels)
    p.click("#inverted")
    result("callers below: the stacks stand on their heads, the sum stays", (p.run(labels) != upright or not has_stacks)
           and p.run("return Number(document.getElementById('icicle').dataset.total)") == seen[0]["icicle"])
    p.click("#inverted")
    p.run("const m = document.getElementById('metric'); m.value = 'waste'; m.dispatchEvent(new Event('input'))")
    result("the stacks by waste add up to the waste", p.run("return Number(document.getElementById('icicle').dataset.total)") == seen[0]["waste"])
    p.run("const m = document.getElementById('metric'); m.value = 'pinned'; m.dispatchEvent(new Event('input'))")

    all_rows = p.run("return document.querySelectorAll('#sites tbody tr').length")
    p.type("#filter", deepest[:8].upper())
    result("the filter filters", 0 < p.run("return document.querySelectorAll('#sites tbody tr').length") <= all_rows and "of" in p.text("#filtered"))
    p.run("const f = document.getElementById('filter'); f.value = 'there is no such thing'; f.dispatchEvent(new Event('input'))")
    result("and leaves nothing where nothing is", p.text("#sites tbody").strip() == "none", p.text("#sites tbody"))
    p.run("const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
    p.click("#sites th:nth-child(3) button")
    result("a column sorts, and is marked", p.run("return document.querySelector('#sites th:nth-child(3)').getAttribute('aria-sort')") == "descending"
           and "▾" in p.text("#sites th:nth-child(3)"))
    if p.run("return document.querySelectorAll('#sites details').length"):
        p.click("#sites details summary")
        result("a call site opens its stack", p.run("return document.querySelectorAll('#sites details[open] li').length") > 1)
    result("nothing on the console", p.log() == [], p.log())

    for theme in ("light", "dark"):
        p.run("document.documentElement.dataset.theme = arguments[0]; drawLegend(); choose(-1); scrollTo(0, 0)", theme)
        for width in (1400, 800, 390):
            p.size(width, 1000 if width > 400 else 844)
            p.run("choose(-1)")
            p.picture(f"{theme}-{width}.png")
            result(f"{width} pixels, {theme}: nothing wider than the window", p.run("return document.documentElement.scrollWidth <= innerWidth"),
                   p.run("return [document.documentElement.scrollWidth, innerWidth]"))
            result(f"{width} pixels, {theme}: a long command line leaves room for the rest", p.run("return document.querySelector('h1').offsetHeight") < 90)
    p.close()

    plain = Page(script=False)
    text = call("GET", f"{plain.session}/element/{plain.find('noscript')}/text")
    result("without JavaScript the page is the text report", "anydma report:" in text and "peak" in text, text[:200])
    plain.close()
finally:
    driver.terminate()
    driver.wait()
sys.exit(failures != 0)
