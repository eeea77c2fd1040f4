//! English and Chinese: the language of everything that a picture or the report says by itself.

/// The language of the fixed texts. Names of the field (`ReLU`, `epoch` in file names, metric keys) stay English.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    Zh,
}

impl Lang {
    /// From `en`, `zh`, `zh_CN.UTF-8` and the like (`--lang`, `LANG`); `None` for another language.
    pub fn parse(text: &str) -> Option<Lang> {
        let text = text.to_ascii_lowercase();
        match text.split(['_', '-', '.']).next() {
            Some("en" | "english") => Some(Lang::En),
            Some("zh" | "chinese" | "cn") => Some(Lang::Zh),
            _ => None,
        }
    }

    /// The code of the language in HTML.
    pub fn code(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh-CN",
        }
    }
}

/// A fixed text in both languages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phrase(pub(crate) &'static str, pub(crate) &'static str);

impl Phrase {
    pub(crate) fn of(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.0,
            Lang::Zh => self.1,
        }
    }
}

/// Declares the table of phrases, and a list of them all for the tests.
macro_rules! phrases {
    ($($name:ident = $en:literal, $zh:literal;)*) => {
        $(pub(crate) const $name: Phrase = Phrase($en, $zh);)*
        #[cfg(test)]
        pub(crate) fn all() -> Vec<(&'static str, Phrase)> {
            vec![$((stringify!($name), $name)),*]
        }
    };
}

phrases! {
    EPOCH = "epoch", "轮次 (epoch)";
    ITERATION = "iteration", "迭代 (iteration)";
    LEARNING_RATE = "learning rate", "学习率";
    MOMENTUM = "momentum", "动量";
    LOSS = "loss", "损失";
    ACCURACY = "accuracy", "准确率";
    SMOOTHED = "bold: smoothed, faint: raw", "粗线：平滑后；细线：原始值";
    LEARNING_CURVES = "learning curves", "学习曲线";
    SCHEDULE = "learning-rate schedule", "学习率调度";
    RANGE_TEST = "learning-rate range test", "学习率范围测试";
    DIVERGED = "diverged", "发散";
    SIZE_TEST = "image sizes: accuracy against cost", "图像尺寸：准确率，耗时";
    MS_AN_UPDATE = "ms an update", "每步耗时（ms）";
    CONFUSION = "confusion matrix", "混淆矩阵";
    TRUE_CLASS = "true class", "真实类别";
    PREDICTED_CLASS = "predicted class", "预测类别";
    ROW_SHARE = "shade: share of the row", "颜色深浅：占该行的比例";
    CLASS = "class", "类别";
    PRECISION = "precision", "精确率";
    RECALL = "recall", "召回率";
    F1 = "F1", "F1";
    IMAGES = "images", "图像数";
    MOST_CONFUSED = "most confused with", "最常误判为";
    RELIABILITY = "reliability diagram", "可靠性图";
    CONFIDENCE = "confidence", "置信度";
    SHARE_OF_IMAGES = "share of images", "图像占比";
    PERFECT = "perfectly calibrated", "完美校准";
    CALIBRATION_ERROR = "expected calibration error", "期望校准误差 (ECE)";
    FILTERS = "filters", "卷积核";
    FEATURE_MAPS = "feature maps", "特征图";
    DEAD = "dead", "失活";
    WEIGHTS = "weights", "权重";
    WEIGHT = "weight", "权重";
    DISTRIBUTION = "distribution", "分布";
    MEAN = "mean", "均值";
    STD = "standard deviation", "标准差";
    DEAD_SHARE = "dead channels", "失活通道占比";
    LAYER = "layer", "层";
    INPUT = "input", "输入";
    INIT_COMPARISON = "initialisations compared", "初始化方法对比";
    ACTIVATIONS_BY_LAYER = "activations by layer", "各层激活统计";
    MEMORY_BY_LAYER = "memory by layer", "各层内存";
    TIME_BY_LAYER = "time by layer", "各层耗时";
    GRADIENTS = "gradients", "梯度";
    OPTIMIZER_STATE = "optimizer state", "优化器状态";
    ACTIVATIONS = "activations", "激活值";
    WORKSPACE = "workspace", "工作区";
    FORWARD = "forward", "前向";
    BACKWARD_INPUT = "backward, input", "反向（输入）";
    BACKWARD_WEIGHT = "backward, weight", "反向（权重）";
    TOTAL = "total", "合计";
    ROOFLINE = "roofline", "屋顶线 (roofline)";
    INTENSITY = "arithmetic intensity (FLOP per byte)", "计算强度（FLOP/字节）";
    PERFORMANCE = "performance (FLOP/s)", "性能（FLOP/s）";
    PEAK = "peak", "峰值";
    BANDWIDTH = "memory bandwidth", "内存带宽";
    EMBEDDING = "embedding map", "嵌入图";
    PARALLEL = "parallel coordinates", "平行坐标";
    SLICES = "slices", "切片图";
    OBJECTIVE = "objective", "目标值";
    BEST = "best", "最佳";
    DESCENT = "gradient descent on a loss surface", "损失曲面上的梯度下降";
    START = "start", "起点";
    MISTAKES = "mistakes", "误判样本";
    CHANGED = "share of the norm changed", "相对变化（范数）";
    NORM = "norm", "范数";

    R_TITLE = "Training report", "训练报告";
    R_CONTENTS = "Contents", "目录";
    R_SUMMARY = "Result", "结果";
    R_ASKED = "What was asked", "请求";
    R_CHOSEN = "What was chosen, and why", "选择及理由";
    R_DATA = "The data", "数据";
    R_CURVES = "Curves", "曲线";
    R_TEST = "Test", "测试";
    R_CLASSES = "By class", "各类别表现";
    R_MISTAKES = "Mistakes", "误判";
    R_PICTURES = "Pictures", "图示";
    R_REPRODUCE = "How to reproduce", "如何复现";
    R_FINDINGS = "What the curves say", "诊断";
    R_KEY = "hyper-parameter", "超参数";
    R_VALUE = "value", "取值";
    R_REASON = "reason", "理由";
    R_SOURCE = "source", "来源";
    R_OTHERS = "All other values are defaults", "其余均为默认值";
    R_TRAIN = "training", "训练集";
    R_VAL = "validation", "验证集";
    R_TEST_SET = "test", "测试集";
    R_NOTHING_REQUESTED = "Nothing but the data: every hyper-parameter was chosen automatically.", "仅给出数据：所有超参数均自动选择。";
    R_VAL_ACC = "validation accuracy", "验证准确率";
    R_TEST_ACC = "test accuracy", "测试准确率";
    R_BEST_EPOCH = "best epoch", "最佳轮次";
    R_TIME = "time", "用时";
    R_PARAMS = "parameters", "参数量";
    R_PEAK_MEMORY = "peak memory", "内存峰值";
    R_INTERVAL = "95 % confidence interval (Wilson)", "95 % 置信区间（Wilson）";
    R_CORRECT_OF = "correct of", "正确 / 共";
    R_OPENED = "Times this test set has been opened, over all runs", "该测试集被使用的次数（所有训练合计）";
    R_OPENED_WARN = "Every further look makes the test result a little more optimistic: choices made after a look are fitted to it.", "每多看一次，测试结果就更乐观一些：看过之后所做的选择会拟合测试集。";
    R_NOT_TESTED = "The test set has not been opened for this run. Validation results are optimistic: they chose the hyper-parameters.", "本次训练未使用测试集。验证结果偏乐观：超参数正是由它选出的。";
    R_GAP = "validation minus test, percentage points", "验证减测试（百分点）";
    R_MISTAKES_NOTE = "Most confident first: true class, then what was predicted and how sure the network was.", "按置信度从高到低排列：先写真实类别，再写预测类别及置信度。";
    R_MADE_BY = "made by danlu", "由 danlu 生成";
    R_ADVICE = "What to try next", "下一步建议";
    R_RECIPE = "The whole recipe, every value resolved", "完整配方（所有取值均已确定）";
    R_PART_OF = "results on", "结果来自";
    R_BALANCE = "Images by class", "各类别图像数";
    R_SKIP = "Skip to the result", "跳到结果";
    R_OPENED_ONCE = "This was the first look at this test set.", "这是第一次使用该测试集。";
    R_CLASS_COUNT = "classes", "类别数";
    R_BROKEN = "left out", "未使用";
    R_FINGERPRINT = "fingerprint", "数据指纹";
    R_IMAGE_SIZE = "image size", "图像尺寸";
    R_SAMPLES = "A batch as the network sees it", "网络实际看到的一批图像";
    R_NO_MISTAKES = "No mistakes to show.", "没有可显示的误判。";
    R_CURVE_TABLE = "The numbers of every epoch", "每轮数据";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_stands_in_both_languages() {
        for (name, Phrase(en, zh)) in all() {
            assert!(!en.is_empty() && !zh.is_empty(), "{name}");
            assert!(en.is_ascii(), "{name}: {en}");
            let same = ["F1"];
            assert!(same.contains(&en) || zh.chars().any(|c| c as u32 > 0x2E80), "{name}: {zh}");
        }
    }

    #[test]
    fn languages_are_known_by_their_usual_names() {
        assert_eq!(Lang::parse("zh_CN.UTF-8"), Some(Lang::Zh));
        assert_eq!(Lang::parse("EN-us"), Some(Lang::En));
        assert_eq!(Lang::parse("C"), None);
    }
}
