"""Sentence templates of the synthetic papers, and abstracts in other languages."""

from dataclasses import dataclass

TITLES = (
    "{drug} and {outcome} in patients with {disease}",
    "{measure} predicts {outcome} in {disease}",
    "{drug} for {disease}: a randomised trial in {n} adults",
    "Changes of the {site} in {disease}",
    "Prevalence of {outcome} in a cohort with {disease}",
    "{measure} and {outcome} over {months} months",
    "The role of the {site} in {outcome}",
    "A prospective study of {n} patients in {centres} hospitals",
)

BACKGROUND = (
    "{disease} is a common cause of {outcome} worldwide.",
    "The role of the {site} in {disease} is poorly understood.",
    "Whether {drug} lowers the risk of {outcome} in {disease} is not known.",
    "{measure} has been proposed as a marker of {outcome}, but evidence is scarce.",
    "Few studies have followed patients with {disease} for more than {months} months.",
)

METHODS = (
    "We enrolled {n} patients with {disease} at {centres} centres and followed them for {months} months.",
    "In this double-blind trial, {n} adults received either {drug} or placebo.",
    "We reviewed the records of {n} patients (mean age {age} years) who were treated with {drug}.",
    "{measure} was assessed at baseline and after {months} months.",
    "Samples of the {site} from {n} patients and {centres} controls were compared.",
    "Regression models were adjusted for age, sex and {measure}.",
)

RESULTS = (
    "{outcome} occurred in {percent}% of patients, and in {share}% of those given {drug} (p {p}).",
    "{measure} was associated with {outcome} (hazard ratio {ratio}, 95% confidence interval {low} to {high}).",
    "Patients with low {measure} had more {outcome} than the others (p {p}).",
    "Changes of the {site} were seen in {percent}% of patients.",
    "{drug} improved {measure} by {percent}% at {months} months (p {p}).",
    "There was no difference in {outcome} between the two groups (p {p_large}).",
)

# Sentences that are filled with the vocabulary of another class.
COMORBIDITY = (
    "Of all patients, {percent}% also had {disease}.",
    "Patients with a history of {disease} or under {drug} were analysed apart.",
    "{disease} was the most frequent comorbidity ({percent}%), followed by {outcome}.",
)

CONCLUSION = (
    "{drug} should be considered for patients with {disease}.",
    "These findings suggest that {measure} helps to foresee {outcome}.",
    "Larger trials are needed before {drug} can be recommended.",
    "In conclusion, the {site} deserves attention in {disease}.",
    "Early care may prevent {outcome} in this population.",
)

# Greek letters, accents (one of them decomposed), ligatures, dashes, odd spaces, an emoji, a letter outside the BMP.
UNICODE_TITLES = (
    "TNF-α, IL-1β and γ-interferon: {title}",
    "The Ångström–Sjögren cohort: {title}",
    "{title} 🧬",
    "Étude naïve of the São José registry: {title}",
    "Poincare\u0301 plots and the ﬁrst 10 µg/m²: {title}",
    "{title} (χ² ≥ 3·84, Δ ≤ ½)",
    "“{title}” – the\u00a0Łódź\u2009experience",
    "The 𝛽-model revisited… {title}",
)


@dataclass(frozen=True, kw_only=True)
class ForeignAbstract:
    """A paper in another language; the sentences take a cohort size, a share and a number of months."""

    language: str
    label: str
    titles: tuple[str, str]
    abstract: str


FOREIGN_ABSTRACTS = (
    ForeignAbstract(
        language="de",
        label="Cardiovascular diseases",
        titles=(
            "Langzeitverlauf der Herzinsuffizienz nach stationärer Behandlung",
            "Betablocker bei älteren Menschen mit Vorhofflimmern",
        ),
        abstract=(
            "Die Herzinsuffizienz gehört zu den häufigsten Gründen für eine Aufnahme ins Krankenhaus. "
            "Wir haben {n} Patientinnen und Patienten über einen Zeitraum von {months} Monaten beobachtet. "
            "Bei {percent}% der Behandelten verbesserte sich die Pumpfunktion der linken Herzkammer deutlich. "
            "Die Ergebnisse zeigen, dass eine frühe Behandlung die Sterblichkeit senken kann."
        ),
    ),
    ForeignAbstract(
        language="fr",
        label="Diabetes mellitus",
        titles=(
            "Équilibre glycémique chez les patients atteints de diabète de type 2",
            "Éducation thérapeutique et diabète : une étude dans les hôpitaux de la région",
        ),
        abstract=(
            "Le diabète de type 2 est une maladie dont la fréquence augmente dans tous les pays. "
            "Nous avons suivi {n} patients pendant {months} mois pour mesurer les effets d'un programme d'éducation. "
            "L'équilibre de la glycémie s'est amélioré chez {percent}% des personnes qui ont suivi le programme. "
            "Ces résultats montrent que l'accompagnement des malades doit commencer dès le diagnostic."
        ),
    ),
    ForeignAbstract(
        language="es",
        label="Chronic respiratory diseases",
        titles=(
            "Calidad de vida de los niños con asma en las zonas urbanas",
            "Rehabilitación pulmonar en pacientes con enfermedad obstructiva crónica",
        ),
        abstract=(
            "El asma es una de las enfermedades crónicas más frecuentes durante la infancia. "
            "Se estudiaron {n} niños que acudieron a la consulta de neumología a lo largo de {months} meses. "
            "El {percent}% de los pacientes presentó menos crisis después del tratamiento con corticoides inhalados. "
            "Se concluye que la educación de las familias mejora el control de la enfermedad."
        ),
    ),
    ForeignAbstract(
        language="zh-cn",
        label="Hepatitis A/B/C/E",
        titles=("慢性乙型肝炎患者抗病毒治疗的长期疗效观察", "丙型肝炎患者肝纤维化程度与病毒载量的关系研究"),
        abstract=(
            "慢性乙型肝炎是我国常见的传染病之一，长期感染可以导致肝硬化和肝癌，严重影响患者的生活质量和预期寿命。"
            "本研究回顾性分析了{n}例在我院接受抗病毒治疗的患者，平均随访时间为{months}个月，"
            "并且记录了患者的年龄、性别、肝功能指标以及病毒载量的变化情况。"
            "结果显示，{percent}%的患者在治疗结束以后病毒载量低于检测下限，肝功能也得到了明显改善，"
            "但是年龄较大的患者以及已经出现肝硬化的患者对治疗的反应比较差。"
            "因此我们认为，早期诊断和规范的抗病毒治疗对于改善这类患者的预后具有重要意义，"
            "今后还需要更大规模的临床研究来进一步证实这些结果。"
        ),
    ),
    ForeignAbstract(
        language="ru",
        label="Neurological disorders",
        titles=(
            "Отдалённые результаты лечения больных эпилепсией",
            "Нарушения памяти у пожилых людей с болезнью Паркинсона",
        ),
        abstract=(
            "Эпилепсия остаётся одним из самых распространённых заболеваний нервной системы. "
            "Мы наблюдали {n} больных, которые получали лечение в течение {months} месяцев. "
            "У {percent}% пациентов частота приступов заметно снизилась, а побочные действия были редкими. "
            "Полученные данные показывают, что раннее начало терапии улучшает прогноз заболевания."
        ),
    ),
    ForeignAbstract(
        language="pt",
        label="HIV/AIDS",
        titles=(
            "Adesão ao tratamento de pessoas que vivem com o vírus da imunodeficiência humana",
            "Diagnóstico tardio da infecção pelo vírus em um hospital universitário",
        ),
        abstract=(
            "A adesão ao tratamento continua sendo um dos maiores desafios para os serviços de saúde. "
            "Foram acompanhadas {n} pessoas durante {months} meses em um hospital de referência da região. "
            "A carga viral ficou indetectável em {percent}% dos pacientes que não interromperam a medicação. "
            "Os resultados mostram que o apoio das equipes de saúde é essencial para o sucesso da terapia."
        ),
    ),
)
