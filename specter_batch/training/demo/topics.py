"""The classes of the synthetic papers and the vocabulary of each."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Topic:
    """The vocabulary of one class; related classes share some of it, as real ones do.

    Attributes:
        weight: Papers of this class in one round over all classes; the sizes are slightly uneven, as in real data.
        related: Classes that a sentence now and then turns to.
        disease: What the paper is about; stays the same through one paper.
        site: Organs and tissues.
        drug: Treatments.
        outcome: What is counted or compared.
        measure: What is measured.
    """

    weight: int
    related: tuple[str, ...]
    disease: tuple[str, ...]
    site: tuple[str, ...]
    drug: tuple[str, ...]
    outcome: tuple[str, ...]
    measure: tuple[str, ...]


TOPICS: Mapping[str, Topic] = {
    "Cardiovascular diseases": Topic(
        weight=4,
        related=("Chronic kidney disease", "Diabetes mellitus"),
        disease=(
            "heart failure",
            "atrial fibrillation",
            "myocardial infarction",
            "coronary artery disease",
            "hypertension",
        ),
        site=("left ventricle", "coronary arteries", "aortic valve", "myocardium", "arterial wall"),
        drug=("beta blockers", "statins", "warfarin", "coronary stenting", "ACE inhibitors"),
        outcome=("cardiac death", "reinfarction", "stroke", "arrhythmia recurrence", "vascular events"),
        measure=("ejection fraction", "systolic blood pressure", "troponin", "LDL cholesterol", "QT interval"),
    ),
    "Chronic kidney disease": Topic(
        weight=3,
        related=("Cardiovascular diseases", "Diabetes mellitus"),
        disease=(
            "chronic kidney disease",
            "renal failure",
            "IgA nephropathy",
            "diabetic nephropathy",
            "polycystic kidneys",
        ),
        site=("kidney", "glomerulus", "renal tubules", "renal cortex", "peritoneal membrane"),
        drug=("haemodialysis", "erythropoietin", "ACE inhibitors", "phosphate binders", "kidney transplantation"),
        outcome=("need for dialysis", "graft loss", "vascular events", "renal anaemia", "loss of renal function"),
        measure=(
            "glomerular filtration rate",
            "serum creatinine",
            "albuminuria",
            "serum phosphate",
            "parathyroid hormone",
        ),
    ),
    "Chronic respiratory diseases": Topic(
        weight=3,
        related=("Cardiovascular diseases", "Neoplasms (cancer)"),
        disease=("asthma", "obstructive pulmonary disease", "pulmonary fibrosis", "bronchiectasis", "emphysema"),
        site=("airways", "bronchial epithelium", "alveoli", "lung tissue", "airway smooth muscle"),
        drug=("inhaled steroids", "tiotropium", "salbutamol", "pulmonary rehabilitation", "oral prednisolone"),
        outcome=("exacerbations", "wheeze", "breathlessness", "oxygen therapy", "respiratory failure"),
        measure=(
            "spirometry",
            "forced expiratory volume",
            "sputum eosinophils",
            "exhaled nitric oxide",
            "walking distance",
        ),
    ),
    "Diabetes mellitus": Topic(
        weight=4,
        related=("Cardiovascular diseases", "Chronic kidney disease"),
        disease=(
            "type 2 diabetes",
            "type 1 diabetes",
            "gestational diabetes",
            "diabetic nephropathy",
            "diabetic retinopathy",
        ),
        site=("pancreatic islets", "beta cells", "adipose tissue", "retina", "skeletal muscle"),
        drug=("metformin", "insulin glargine", "liraglutide", "sulfonylureas", "insulin pumps"),
        outcome=("hypoglycaemia", "glycaemic control", "vascular events", "insulin resistance", "ketoacidosis"),
        measure=("HbA1c", "fasting glucose", "albuminuria", "C-peptide", "body mass index"),
    ),
    "Digestive diseases": Topic(
        weight=3,
        related=("Neoplasms (cancer)", "Hepatitis A/B/C/E"),
        disease=("Crohn disease", "ulcerative colitis", "gastric ulcer", "acute pancreatitis", "reflux oesophagitis"),
        site=("colon", "intestinal mucosa", "stomach", "oesophagus", "bile ducts"),
        drug=("omeprazole", "mesalazine", "infliximab", "oral prednisolone", "endoscopic haemostasis"),
        outcome=("mucosal healing", "rectal bleeding", "bowel resection", "abdominal pain", "perforation"),
        measure=("endoscopy score", "faecal calprotectin", "gastric acidity", "stool frequency", "serum lipase"),
    ),
    "HIV/AIDS": Topic(
        weight=3,
        related=("Hepatitis A/B/C/E", "Chronic respiratory diseases"),
        disease=("HIV infection", "AIDS", "HIV-1 seroconversion", "HIV-associated tuberculosis", "HIV wasting"),
        site=("CD4 lymphocytes", "lymph nodes", "genital mucosa", "viral reservoir", "gut lymphoid tissue"),
        drug=("antiretroviral therapy", "tenofovir", "efavirenz", "zidovudine", "preexposure prophylaxis"),
        outcome=(
            "virological failure",
            "opportunistic infection",
            "vertical transmission",
            "drug resistance",
            "seroconversion",
        ),
        measure=("CD4 count", "viral load", "condom use", "treatment adherence", "HIV testing"),
    ),
    "Hepatitis A/B/C/E": Topic(
        weight=2,
        related=("HIV/AIDS", "Digestive diseases"),
        disease=("hepatitis B", "hepatitis C", "hepatitis A", "hepatitis E", "chronic viral hepatitis"),
        site=("liver", "hepatocytes", "hepatic stellate cells", "portal tract", "liver biopsy tissue"),
        drug=("pegylated interferon", "ribavirin", "entecavir", "tenofovir", "sofosbuvir"),
        outcome=(
            "sustained virological response",
            "liver cirrhosis",
            "hepatocellular carcinoma",
            "drug resistance",
            "jaundice",
        ),
        measure=("viral load", "alanine aminotransferase", "surface antigen", "viral genotype", "liver stiffness"),
    ),
    "Mental disorders": Topic(
        weight=4,
        related=("Neurological disorders", "Musculoskeletal disorders"),
        disease=("major depression", "schizophrenia", "bipolar disorder", "anxiety disorder", "anorexia nervosa"),
        site=("prefrontal cortex", "amygdala", "hippocampus", "limbic system", "serotonin receptors"),
        drug=("sertraline", "cognitive behavioural therapy", "lithium", "olanzapine", "group psychotherapy"),
        outcome=(
            "suicide attempts",
            "psychotic relapse",
            "remission of mood symptoms",
            "cognitive impairment",
            "social functioning",
        ),
        measure=(
            "depression rating scale",
            "psychiatric interview",
            "anxiety score",
            "sleep quality",
            "working memory",
        ),
    ),
    "Musculoskeletal disorders": Topic(
        weight=3,
        related=("Neurological disorders", "Digestive diseases"),
        disease=("rheumatoid arthritis", "osteoarthritis", "osteoporosis", "low back pain", "gout"),
        site=("knee joint", "articular cartilage", "lumbar spine", "synovium", "skeletal muscle"),
        drug=("methotrexate", "bisphosphonates", "infliximab", "physiotherapy", "joint replacement"),
        outcome=("hip fracture", "joint erosion", "pain on movement", "disability", "implant loosening"),
        measure=("bone mineral density", "joint swelling count", "grip strength", "walking distance", "serum urate"),
    ),
    "Neoplasms (cancer)": Topic(
        weight=4,
        related=("Digestive diseases", "Hepatitis A/B/C/E"),
        disease=("breast cancer", "lung cancer", "colorectal cancer", "prostate cancer", "hepatocellular carcinoma"),
        site=("primary tumour", "lymph nodes", "tumour stroma", "colon", "bone metastases"),
        drug=("cisplatin", "radiotherapy", "trastuzumab", "adjuvant chemotherapy", "tumour resection"),
        outcome=("tumour progression", "metastasis", "cancer death", "local recurrence", "neutropenia"),
        measure=("tumour stage", "oncogene expression", "histological grade", "tumour volume", "somatic mutations"),
    ),
    "Neurological disorders": Topic(
        weight=3,
        related=("Mental disorders", "Cardiovascular diseases"),
        disease=("Parkinson disease", "Alzheimer disease", "epilepsy", "multiple sclerosis", "migraine"),
        site=("basal ganglia", "hippocampus", "white matter", "spinal cord", "motor neurons"),
        drug=("levodopa", "donepezil", "valproate", "interferon beta", "deep brain stimulation"),
        outcome=("seizures", "cognitive impairment", "dementia", "stroke", "gait freezing"),
        measure=("electroencephalography", "lesion load", "motor score", "working memory", "amyloid burden"),
    ),
}
