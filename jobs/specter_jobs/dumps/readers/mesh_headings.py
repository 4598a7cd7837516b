"""Map the MeSH headings of a citation to one of the 11 classes of SciDocs, if they point to exactly one class.

The same class names are in Feldman et al. 2019 (https://doi.org/10.1001/jamanetworkopen.2019.6700), as groups of causes
of the Global Burden of Disease study. Their code is at https://github.com/allenai/pubmedextract. SciDocs probably took
the names from there, but its paper does not mention a source. SciDocs' release has no table of descriptors, so this
table was made for this project. It has the descriptors that mean a class, and the common narrower descriptors.

Limits: the table has the frequent descriptors, not the thousands in MeSH's disease trees, so a citation may get no
label where an expert would give one. A disease under two classes in MeSH's trees (stroke, dementia), or one that joins
two classes (diabetic nephropathy), gives no label. All cancers are one group, wherever they grow. Substance use,
injuries, infections other than HIV and hepatitis, and congenital defects belong to none of the 11 classes. The labels
resemble SciDocs' labels, but an F1 on them is not an F1 on SciDocs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from specter_batch.papers.labels import MESH

# Names are separated by semicolons, because MeSH names contain commas.
_DESCRIPTORS = {
    "Cardiovascular diseases": """
        Cardiovascular Diseases; Heart Diseases; Vascular Diseases; Coronary Disease; Coronary Artery Disease;
        Coronary Stenosis; Coronary Occlusion; Coronary Thrombosis; Myocardial Ischemia; Myocardial Infarction;
        ST Elevation Myocardial Infarction; Non-ST Elevated Myocardial Infarction; Acute Coronary Syndrome;
        Angina Pectoris; Angina, Stable; Angina, Unstable; Heart Failure; Heart Failure, Systolic;
        Heart Failure, Diastolic; Shock, Cardiogenic; Ventricular Dysfunction, Left; Cardiomyopathies;
        Cardiomyopathy, Dilated; Cardiomyopathy, Hypertrophic; Myocarditis; Pericarditis; Endocarditis;
        Rheumatic Heart Disease; Heart Valve Diseases; Aortic Valve Stenosis; Aortic Valve Insufficiency;
        Mitral Valve Stenosis; Mitral Valve Insufficiency; Mitral Valve Prolapse; Arrhythmias, Cardiac;
        Atrial Fibrillation; Atrial Flutter; Tachycardia, Supraventricular; Tachycardia, Ventricular;
        Ventricular Fibrillation; Long QT Syndrome; Brugada Syndrome; Heart Arrest; Death, Sudden, Cardiac;
        Hypertension; Essential Hypertension; Atherosclerosis; Arteriosclerosis; Peripheral Arterial Disease;
        Peripheral Vascular Diseases; Intermittent Claudication; Aortic Aneurysm; Aortic Aneurysm, Abdominal;
        Aortic Aneurysm, Thoracic; Aortic Dissection; Venous Thrombosis; Venous Thromboembolism; Varicose Veins""",
    "Chronic kidney disease": "Renal Insufficiency, Chronic; Kidney Failure, Chronic",
    "Chronic respiratory diseases": """
        Asthma; Asthma, Aspirin-Induced; Asthma, Exercise-Induced; Asthma, Occupational; Status Asthmaticus;
        Lung Diseases, Obstructive; Pulmonary Disease, Chronic Obstructive; Bronchitis, Chronic; Pulmonary Emphysema;
        Asthma-Chronic Obstructive Pulmonary Disease Overlap Syndrome; Bronchiectasis; Lung Diseases, Interstitial;
        Pulmonary Fibrosis; Idiopathic Pulmonary Fibrosis; Sarcoidosis, Pulmonary; Pneumoconiosis; Silicosis;
        Asbestosis; Anthracosis; Byssinosis""",
    "Diabetes mellitus": """
        Diabetes Mellitus; Diabetes Mellitus, Type 1; Diabetes Mellitus, Type 2; Diabetes Mellitus, Experimental;
        Diabetes, Gestational; Latent Autoimmune Diabetes in Adults; Diabetes Complications; Diabetic Ketoacidosis;
        Diabetic Coma; Hyperglycemic Hyperosmolar Nonketotic Coma""",
    "Digestive diseases": """
        Digestive System Diseases; Gastrointestinal Diseases; Esophageal Diseases; Stomach Diseases;
        Intestinal Diseases; Colonic Diseases; Rectal Diseases; Liver Diseases; Biliary Tract Diseases;
        Gallbladder Diseases; Pancreatic Diseases; Gastroesophageal Reflux; Esophagitis; Esophageal Achalasia;
        Dyspepsia; Gastroparesis; Gastritis; Peptic Ulcer; Stomach Ulcer; Duodenal Ulcer; Gastrointestinal Hemorrhage;
        Inflammatory Bowel Diseases; Crohn Disease; Colitis; Colitis, Ulcerative; Irritable Bowel Syndrome;
        Celiac Disease; Appendicitis; Diverticulitis; Diverticulosis, Colonic; Intestinal Obstruction; Ileus;
        Short Bowel Syndrome; Fissure in Ano; Rectal Fistula; Fatty Liver; Non-alcoholic Fatty Liver Disease;
        Liver Diseases, Alcoholic; Hepatitis, Alcoholic; Hepatitis, Autoimmune; Liver Cirrhosis;
        Liver Cirrhosis, Alcoholic; Liver Cirrhosis, Biliary; Liver Failure; Liver Failure, Acute;
        End Stage Liver Disease; Hypertension, Portal; Cholelithiasis; Gallstones; Cholecystitis;
        Cholecystitis, Acute; Cholangitis; Cholangitis, Sclerosing; Cholestasis; Pancreatitis; Pancreatitis, Chronic;
        Pancreatitis, Acute Necrotizing""",
    "HIV/AIDS": """
        HIV Infections; Acquired Immunodeficiency Syndrome; HIV Seropositivity; HIV Wasting Syndrome;
        AIDS-Related Complex; AIDS-Related Opportunistic Infections""",
    "Hepatitis A/B/C/E": """
        Hepatitis A; Hepatitis B; Hepatitis B, Chronic; Hepatitis C; Hepatitis C, Chronic; Hepatitis E""",
    "Mental disorders": """
        Mental Disorders; Mood Disorders; Depressive Disorder; Depressive Disorder, Major; Dysthymic Disorder;
        Depressive Disorder, Treatment-Resistant; Depression, Postpartum; Bipolar Disorder; Cyclothymic Disorder;
        Schizophrenia; Schizophrenia, Paranoid; Schizophrenia, Childhood; Psychotic Disorders; Anxiety Disorders;
        Panic Disorder; Agoraphobia; Phobic Disorders; Phobia, Social; Obsessive-Compulsive Disorder;
        Stress Disorders, Post-Traumatic; Stress Disorders, Traumatic, Acute; Adjustment Disorders;
        Feeding and Eating Disorders; Anorexia Nervosa; Bulimia Nervosa; Binge-Eating Disorder;
        Autism Spectrum Disorder; Autistic Disorder; Asperger Syndrome; Child Development Disorders, Pervasive;
        Attention Deficit Disorder with Hyperactivity; Conduct Disorder; Personality Disorders;
        Borderline Personality Disorder; Antisocial Personality Disorder; Somatoform Disorders;
        Dissociative Disorders""",
    "Musculoskeletal disorders": """
        Musculoskeletal Diseases; Bone Diseases; Bone Diseases, Metabolic; Joint Diseases; Rheumatic Diseases;
        Arthritis; Arthritis, Rheumatoid; Arthritis, Juvenile; Arthritis, Psoriatic; Arthritis, Gouty; Gout;
        Osteoarthritis; Osteoarthritis, Knee; Osteoarthritis, Hip; Osteoarthritis, Spine; Osteoporosis;
        Osteoporosis, Postmenopausal; Spondylitis, Ankylosing; Spondylarthritis; Axial Spondyloarthritis;
        Spondylosis; Spondylolisthesis; Spinal Diseases; Spinal Stenosis; Scoliosis; Low Back Pain;
        Intervertebral Disc Degeneration; Intervertebral Disc Displacement; Osteonecrosis; Femur Head Necrosis;
        Bursitis; Tendinopathy""",
    "Neoplasms (cancer)": """
        Neoplasm Metastasis; Lymphatic Metastasis; Neoplasm Recurrence, Local; Hodgkin Disease; Multiple Myeloma;
        Precursor Cell Lymphoblastic Leukemia-Lymphoma; Myelodysplastic Syndromes; Waldenstrom Macroglobulinemia;
        Glioma; Glioblastoma; Astrocytoma; Neuroblastoma; Medulloblastoma; Retinoblastoma; Wilms Tumor;
        Hepatoblastoma; Cholangiocarcinoma; Mesothelioma; Osteosarcoma; Chondrosarcoma; Rhabdomyosarcoma;
        Leiomyosarcoma; Liposarcoma; Gastrointestinal Stromal Tumors; Neuroendocrine Tumors; Carcinoid Tumor;
        Carcinoma in Situ""",
    "Neurological disorders": """
        Nervous System Diseases; Central Nervous System Diseases; Brain Diseases; Spinal Cord Diseases;
        Peripheral Nervous System Diseases; Neurodegenerative Diseases; Movement Disorders; Demyelinating Diseases;
        Epilepsy; Epilepsy, Generalized; Epilepsy, Absence; Epilepsy, Temporal Lobe; Epilepsies, Partial;
        Drug Resistant Epilepsy; Myoclonic Epilepsy, Juvenile; Status Epilepticus; Parkinson Disease;
        Parkinson Disease, Secondary; Parkinsonian Disorders; Multiple System Atrophy;
        Supranuclear Palsy, Progressive; Essential Tremor; Dystonic Disorders; Multiple Sclerosis;
        Multiple Sclerosis, Relapsing-Remitting; Multiple Sclerosis, Chronic Progressive; Neuromyelitis Optica;
        Encephalomyelitis, Autoimmune, Experimental; Amyotrophic Lateral Sclerosis; Motor Neuron Disease;
        Muscular Atrophy, Spinal; Myasthenia Gravis; Guillain-Barre Syndrome; Charcot-Marie-Tooth Disease;
        Spinocerebellar Ataxias; Friedreich Ataxia; Cerebral Palsy; Headache Disorders; Migraine Disorders;
        Migraine with Aura; Migraine without Aura; Tension-Type Headache; Cluster Headache; Trigeminal Neuralgia""",
}

# Descriptors that belong to two classes. They give no label, and a citation with one of them gets no label either, even
# if its other headings point to one of the two classes.
_OF_TWO_CLASSES = {
    ("Cardiovascular diseases", "Neurological disorders"): """
        Stroke; Ischemic Stroke; Hemorrhagic Stroke; Embolic Stroke; Thrombotic Stroke; Stroke, Lacunar;
        Cerebrovascular Disorders; Brain Ischemia; Ischemic Attack, Transient; Brain Infarction; Cerebral Infarction;
        Infarction, Middle Cerebral Artery; Intracranial Hemorrhages; Cerebral Hemorrhage; Subarachnoid Hemorrhage;
        Intracranial Aneurysm; Intracranial Arteriosclerosis; Sinus Thrombosis, Intracranial; Carotid Stenosis;
        Carotid Artery Diseases; Dementia, Vascular""",
    ("Mental disorders", "Neurological disorders"): """
        Dementia; Alzheimer Disease; Frontotemporal Dementia; Lewy Body Disease; Huntington Disease;
        Creutzfeldt-Jakob Syndrome; Neurocognitive Disorders; Cognitive Dysfunction; Delirium; Tourette Syndrome;
        Tic Disorders; Intellectual Disability; Sleep Wake Disorders; Sleep Initiation and Maintenance Disorders""",
    ("Musculoskeletal disorders", "Neurological disorders"): """
        Muscular Diseases; Muscular Dystrophies; Muscular Dystrophy, Duchenne; Fibromyalgia; Myositis; Polymyositis;
        Dermatomyositis""",
    ("Cardiovascular diseases", "Chronic respiratory diseases"): "Hypertension, Pulmonary; Pulmonary Heart Disease",
    ("Cardiovascular diseases", "Chronic kidney disease"): "Cardio-Renal Syndrome",
    ("Cardiovascular diseases", "Digestive diseases"): "Esophageal and Gastric Varices; Hemorrhoids",
    ("Chronic kidney disease", "Musculoskeletal disorders"): "Chronic Kidney Disease-Mineral and Bone Disorder",
    ("Chronic respiratory diseases", "Digestive diseases"): "Cystic Fibrosis",
    ("Chronic respiratory diseases", "Neurological disorders"): "Sleep Apnea Syndromes; Sleep Apnea, Obstructive",
    ("Diabetes mellitus", "Cardiovascular diseases"): """
        Diabetic Angiopathies; Diabetic Cardiomyopathies; Diabetic Foot; Diabetic Retinopathy""",
    ("Diabetes mellitus", "Chronic kidney disease"): "Diabetic Nephropathies",
    ("Diabetes mellitus", "Neurological disorders"): "Diabetic Neuropathies",
    ("Digestive diseases", "Neurological disorders"): "Hepatic Encephalopathy",
    ("HIV/AIDS", "Chronic kidney disease"): "AIDS-Associated Nephropathy",
    ("HIV/AIDS", "Digestive diseases"): "HIV Enteropathy",
    ("HIV/AIDS", "Neurological disorders"): "AIDS Dementia Complex",
    ("HIV/AIDS", "Neoplasms (cancer)"): "Lymphoma, AIDS-Related; Sarcoma, Kaposi",
    ("Digestive diseases", "Neoplasms (cancer)"): "Barrett Esophagus; Adenomatous Polyposis Coli",
}

# MeSH names cancers by site ("Lung Neoplasms") and by tissue ("Carcinoma, Non-Small-Cell Lung").
_CANCER = re.compile(
    r"(?:.+ )?Neoplasms(?:, .+)?|(?:Adenocarcinoma|Carcinoma|Leukemia|Lymphoma|Melanoma|Sarcoma)(?:, .+)?"
)


class MeshHeading(NamedTuple):
    """One heading of a citation: the descriptor's name, and whether it or one of its qualifiers is a major topic."""

    descriptor: str
    major: bool


def _names(block: str) -> list[str]:
    return [" ".join(name.split()) for name in block.split(";")]


_CLASSES: dict[str, frozenset[str]] = {
    **{name: frozenset((label,)) for label, block in _DESCRIPTORS.items() for name in _names(block)},
    **{name: frozenset(labels) for labels, block in _OF_TWO_CLASSES.items() for name in _names(block)},
}


def classes_of(descriptor: str) -> frozenset[str]:
    """Return the classes of a descriptor: none, one or two."""
    classes = _CLASSES.get(descriptor)
    if classes is None:
        return frozenset(("Neoplasms (cancer)",)) if _CANCER.fullmatch(descriptor) else frozenset()
    return classes


def mesh_class(headings: Iterable[MeshHeading]) -> str | None:
    """Return the class that a citation's headings point to.

    All headings with a class must have the same class, and at least one of them must be a major topic. A disease that
    is only mentioned is not the paper's subject. If no heading is marked as major, all headings count.

    Returns:
        A name from `specter_batch.papers.labels.MESH`. None if there is no class, if there are two, or if the class is
        not a major topic.
    """
    headings = list(headings)
    pointing = [(heading, classes_of(heading.descriptor)) for heading in headings]
    labels = frozenset[str]().union(*(classes for _, classes in pointing))
    if len(labels) != 1:
        return None
    if any(heading.major for heading in headings) and not any(h.major for h, classes in pointing if classes):
        return None
    (label,) = labels
    return MESH.names[MESH.id_of(label)]
