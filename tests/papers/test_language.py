import json
import subprocess
import sys

import langdetect
import pytest

from specter_batch.papers.language import MAX_CHARACTERS, EnglishFilter, foreign_script, is_plain_english

ENGLISH = (
    "Slow rivers and their beds. We measured the depth of twelve rivers over ten years and compared it with a model of "
    "the sediment that they carry. The model predicts the depth to within five per cent, which is better than the "
    "methods that have been used until now, and it can be applied to rivers for which only a few measurements exist."
)
GERMAN = (
    "Langsame Flüsse und ihre Betten. Wir haben die Tiefe von zwölf Flüssen über zehn Jahre gemessen und mit einem "
    "Modell der mitgeführten Sedimente verglichen. Das Modell sagt die Tiefe auf fünf Prozent genau voraus und ist "
    "damit besser als die bisher gebräuchlichen Verfahren."
)
FRENCH = (
    "Rivières lentes et leurs lits. Nous avons mesuré la profondeur de douze rivières pendant dix ans et nous l'avons "
    "comparée à un modèle des sédiments qu'elles transportent. Le modèle prédit la profondeur à cinq pour cent près, "
    "ce qui est meilleur que les méthodes utilisées jusqu'à présent."
)
OTHERS = {
    "de": GERMAN,
    "fr": FRENCH,
    "es": "Medimos la profundidad de doce ríos durante diez años y la comparamos con un modelo de los sedimentos.",
    "it": "Abbiamo misurato la profondità di dodici fiumi per dieci anni e l'abbiamo confrontata con un modello.",
    "pt": "Medimos a profundidade de doze rios durante dez anos e comparamos os valores com um modelo de sedimentos.",
    "nl": "We hebben de diepte van twaalf rivieren gedurende tien jaar gemeten en met een model vergeleken.",
    "pl": "Przez dziesięć lat mierzyliśmy głębokość dwunastu rzek i porównaliśmy ją z modelem osadów.",
    "sv": "Vi mätte djupet i tolv floder under tio år och jämförde det med en modell av deras sediment.",
    "tr": "On yıl boyunca on iki nehrin derinliğini ölçtük ve taşıdıkları tortuların bir modeli ile karşılaştırdık.",
    "fi": "Mittasimme kahdentoista joen syvyyttä kymmenen vuoden ajan ja vertasimme tuloksia sedimenttimalliin.",
}
SCRIPTS = {
    "cyrillic": "Мы измеряли глубину двенадцати рек в течение десяти лет и сравнили её с моделью наносов.",
    "cjk": "我们在十年间测量了十二条河流的深度，并与泥沙模型进行了比较。",
    "hiragana": "私たちは十年にわたって十二の川の深さを測り、それを土砂のモデルと比べました。",
    "hangul": "우리는 십 년 동안 열두 강의 깊이를 측정하고 퇴적물 모형과 비교하였다.",
    "arabic": "قمنا بقياس عمق اثني عشر نهرا على مدى عشر سنوات وقارناه بنموذج للرواسب.",
    "greek": "Μετρήσαμε το βάθος δώδεκα ποταμών για δέκα χρόνια και το συγκρίναμε με ένα μοντέλο.",
    "georgian": "ჩვენ გავზომეთ თორმეტი მდინარის სიღრმე ათი წლის განმავლობაში.",
}
EASY_ENGLISH = {
    "plain": ENGLISH,
    "html": f"<p>{ENGLISH.replace('. ', '.</p><p>')}</p>",
    "jats": f"<jats:title>Abstract</jats:title><jats:p>{ENGLISH}</jats:p>",
    "greek formula": ENGLISH + " The slope is α = β².",
    "latex": ENGLISH + r" We show that $\int_0^1 f(x)\,dx = \alpha$ for all $f \in L^2$.",
    "curly quotes": f"“{ENGLISH}”",
    "line breaks": ENGLISH.replace(" ", "\n"),
}
DOUBTFUL = {
    "capitals": ENGLISH.upper(),
    "list of names": "Smith Jones Brown Taylor Wilson Davies Evans Thomas Johnson Roberts Walker Wright Green " * 3,
    "formulas": r"$\alpha_i = \beta_i$, $\gamma_{ij} \in \Gamma$, $x \mapsto f(x)$ and $\sum_i x_i = 0$ " * 3,
    "french title": "Les rivières lentes et leurs lits dans les Alpes. " + ENGLISH,
    "french abstract": "The slow rivers of the Alps and their beds. " + FRENCH,
    "finnish tail": ENGLISH + " " + OTHERS["fi"] * 2,
}


def langdetect_alone(text: str) -> str:
    langdetect.DetectorFactory.seed = 0
    try:
        return str(langdetect.detect(text))
    except langdetect.LangDetectException:
        return "unknown"


@pytest.mark.parametrize("text", EASY_ENGLISH.values(), ids=EASY_ENGLISH)
def test_plain_english_passes_without_langdetect(text: str) -> None:
    assert EnglishFilter().screen(text) == "en"
    assert EnglishFilter().is_english(text)


@pytest.mark.parametrize("script", SCRIPTS)
def test_another_script_is_rejected_and_named_without_langdetect(script: str) -> None:
    assert EnglishFilter().screen(SCRIPTS[script]) == EnglishFilter().language(SCRIPTS[script]) == script
    assert not EnglishFilter().is_english(SCRIPTS[script])


@pytest.mark.parametrize("code", OTHERS)
def test_another_language_in_latin_letters_is_rejected_and_named(code: str) -> None:
    assert EnglishFilter().language(OTHERS[code]) == code
    assert not EnglishFilter().is_english(OTHERS[code])


@pytest.mark.parametrize("text", DOUBTFUL.values(), ids=DOUBTFUL)
def test_doubtful_text_gets_the_answer_of_langdetect(text: str) -> None:
    assert EnglishFilter().screen(text) is None
    assert EnglishFilter().language(text) == langdetect_alone(text)


@pytest.mark.parametrize("text", [*EASY_ENGLISH.values(), *SCRIPTS.values()], ids=[*EASY_ENGLISH, *SCRIPTS])
def test_langdetect_agrees_with_the_screen(text: str) -> None:
    assert (langdetect_alone(text) == "en") == EnglishFilter().is_english(text)


@pytest.mark.parametrize(
    "text", ["", " \n", "1984", "3.14 - 2.71 = 0.43 (< 0.05)", "?!", "https://example.org/a", "\ud800"]
)
def test_text_without_letters_is_of_unknown_language(text: str) -> None:
    assert EnglishFilter().language(text) == "unknown"
    assert not EnglishFilter().is_english(text)


def test_short_english_is_english() -> None:
    assert EnglishFilter().is_english("The depth of slow rivers and how to measure it")


SHORT_ENGLISH = (
    "Rivers.",
    "Septic arthritis",
    "Hypertension in pregnancy",
    "Chronic renal failure and anemia",
    "Staphylococcus aureus bacteremia",
    "Las Vegas sands",
    "CT in adults",
    "SARS-CoV-2",
)


@pytest.mark.parametrize("title", SHORT_ENGLISH)
def test_a_few_words_are_never_found_foreign(title: str) -> None:
    assert EnglishFilter().language(title) in ("en", "undecided")
    assert EnglishFilter().foreign_language(title) is None


def test_a_few_words_in_another_script_are_foreign() -> None:
    for script, text in SCRIPTS.items():
        assert EnglishFilter().foreign_language(" ".join(text.split()[:2])) == script


def test_enough_words_are_found_foreign() -> None:
    assert EnglishFilter().language("Die Behandlung der akuten Entzündung") == "undecided"
    assert (
        EnglishFilter().language("Die Behandlung der akuten Entzündung bei Kindern und Jugendlichen in der Klinik")
        == "de"
    )


def test_a_bilingual_paper_is_in_the_language_of_its_greater_part() -> None:
    assert EnglishFilter().language(DOUBTFUL["french abstract"]) == "fr"
    assert EnglishFilter().is_english(DOUBTFUL["french title"])


def test_the_script_is_that_of_most_letters() -> None:
    assert foreign_script(SCRIPTS["cyrillic"] + " MODIS NDVI") == "cyrillic"
    assert foreign_script(ENGLISH + SCRIPTS["cyrillic"]) is None
    assert foreign_script(OTHERS["pl"]) is None


@pytest.mark.parametrize(("head", "tail", "expected"), [(ENGLISH, GERMAN, "en"), (GERMAN, ENGLISH, "de")])
def test_only_the_head_of_a_very_long_text_is_judged(head: str, tail: str, expected: str) -> None:
    text = (head + " ") * 20 + (tail + " ") * 2000
    assert len(head) * 20 > MAX_CHARACTERS
    assert EnglishFilter().language(text) == expected


def test_one_long_word_is_no_plain_english() -> None:
    assert not is_plain_english("the" * 100_000)


def test_the_answer_does_not_depend_on_order_threads_or_the_global_seed() -> None:
    texts = [*DOUBTFUL.values(), *OTHERS.values()]
    expected = [EnglishFilter().language(text) for text in texts]
    assert [EnglishFilter().language(text) for text in reversed(texts)] == expected[::-1]

    # In a process of its own, so that the threads race to load the profiles.
    script = (
        "import json, sys; from concurrent.futures import ThreadPoolExecutor; "
        "from langdetect import DetectorFactory; from specter_batch.papers.language import EnglishFilter; "
        "DetectorFactory.seed = 7; pool = ThreadPoolExecutor(8); "
        "print(json.dumps(list(pool.map(EnglishFilter().language, json.load(sys.stdin)))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts * 4), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == expected * 4


def test_easy_texts_never_ask_langdetect() -> None:
    script = (
        "import json, sys; from specter_batch.papers.language import EnglishFilter; "
        "found = [EnglishFilter().language(text) for text in json.load(sys.stdin)]; "
        "assert 'langdetect' not in sys.modules; print(json.dumps(found))"
    )
    texts = [*EASY_ENGLISH.values(), *SCRIPTS.values()]
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["en"] * len(EASY_ENGLISH) + list(SCRIPTS)


def test_the_answer_is_the_same_in_another_process_and_langdetect_is_imported_on_demand() -> None:
    texts = list(DOUBTFUL.values())
    script = (
        "import json, sys; from specter_batch.papers.language import EnglishFilter; "
        "assert 'langdetect' not in sys.modules; "
        "print(json.dumps([EnglishFilter().language(text) for text in json.load(sys.stdin)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [EnglishFilter().language(text) for text in texts]
