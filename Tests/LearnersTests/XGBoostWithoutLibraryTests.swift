import Foundation
import Manifests
import Testing

@testable import Learners

struct XGBoostWithoutLibraryTests {
    @Test func `a missing library says how to get it`() throws {
        for explicit in [nil, "/nowhere/libxgboost.so"] {
            do throws(LearnerError) {
                _ = try XGBoostLibrary.find(explicit: explicit, places: ["/nowhere/else/libxgboost.so"])
                Issue.record("a library was found where there is none")
            } catch {
                #expect(error.code == .libraryMissing)
                let hint = error.hint ?? ""
                #expect(hint.contains("scripts/setup-xgboost") && hint.contains("xgboost-cpu"))
                #expect(hint.contains("xgboost_library"))
            }
        }
    }

    @Test func `a file that is no library is refused`() throws {
        try withFolder { folder in
            let path = "\(folder)/libxgboost.so"
            try Data("not a library".utf8).write(to: URL(fileURLWithPath: path))
            #expect(code { _ = try XGBoostLibrary.find(explicit: path) } == .libraryMissing)
        }
    }

    @Test func `the newest version of the cache is tried first`() throws {
        try withFolder { folder in
            for version in ["3.9.0", "3.10.1", "2.1.0"] {
                try FileManager.default.createDirectory(
                    atPath: "\(folder)/\(version)", withIntermediateDirectories: true)
            }
            #expect(
                XGBoostLibrary.cachedPlaces(below: folder).map { $0.dropFirst(folder.count + 1).prefix(4) } == [
                    "3.10", "3.9.", "2.1.",
                ])
        }
        #expect(XGBoostLibrary.cachedPlaces(below: nil).isEmpty)
        #expect(XGBoostLibrary.cachedPlaces(below: "/nowhere").isEmpty)
    }

    @Test(arguments: [
        ("max_dept", "3", "Did you mean \"max_depth\"?"), ("n_estimators", "3", "The number of rounds is"),
        ("eval_metric", "auk", "Did you mean \"auc\"?"), ("objective", "binary:logistics", "\"binary:logistic\"?"),
    ])
    func `an unknown hyperparameter is refused with what was meant`(name: String, value: String, hint: String) {
        do throws(LearnerError) {
            try XGBoostParameters.check([name: value])
            Issue.record("\(name) was taken")
        } catch {
            #expect(error.code == .badParameter)
            #expect(error.hint?.contains(hint) == true, "\(error)")
        }
    }

    @Test(arguments: [
        ["max_depth": "three"], ["max_depth": "-1"], ["subsample": "1.5"], ["eta": "nan"], ["booster": "gblinear"],
        ["seed": "1.5"], ["validate_parameters": "yes"], ["eta": "0.1", "learning_rate": "0.1"],
        ["monotone_constraints": ""],
    ])
    func `a value out of range is refused`(parameters: [String: String]) {
        #expect(code { try XGBoostParameters.check(parameters) } == .badParameter)
    }

    @Test func `known hyperparameters are taken`() throws {
        try XGBoostParameters.check([
            "objective": "binary:logistic", "eta": "0.1", "max_depth": "6", "lambda": "1", "nthread": "2",
            "eval_metric": "auc,logloss,error@0.7,ndcg@5-", "seed": "-3", "tree_method": "hist",
        ])
    }

    @Test func `the version is read from JSON wherever it stands`() throws {
        for text in [
            #"{"learner":{"version":[9,9,9],"a":"}\"{"},"version":[3,2,0]}"#,
            "{ \"version\" : [ 3 , 2 , 0 ] , \"learner\" : { } }", "{\n\"version\":[3,2,0]}",
        ] {
            #expect(try ModelFormat.version(of: Array(text.utf8)).description == "3.2.0")
        }
        for text in ["", "{", "{}", "[]", "{\"version\":[3,2]}", "{\"version\":3}", "{\"learner\":{}}", "binf0000"] {
            #expect(code { _ = try ModelFormat.version(of: Array(text.utf8)) } == .badModel)
        }
    }

    @Test func `the version is read from UBJSON`() throws {
        #expect(try ModelFormat.version(of: Golden.bytes("treeshap_model.ubj")).description == "3.2.0")
        // {"a": [typed 2 × float], "b": [N, "x", {}], "version": [typed uint8 1, 7, 4]}
        var bytes: [UInt8] =
            [0x7B, 0x69, 1, 0x61, 0x5B, 0x24, 0x64, 0x23, 0x69, 2] + [UInt8](repeating: 0x7D, count: 8)
        bytes += [0x69, 1, 0x62, 0x5B, 0x4E, 0x53, 0x69, 1, 0x78, 0x7B, 0x7D, 0x5D]
        bytes += [0x55, 7] + Array("version".utf8) + [0x5B, 0x24, 0x55, 0x23, 0x69, 3, 1, 7, 4, 0x7D]
        #expect(try ModelFormat.version(of: bytes).description == "1.7.4")
    }

    @Test func `hostile lengths in UBJSON end in an error`() {
        let huge: [UInt8] = [0x4C, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]
        let negative: [UInt8] = [0x4C] + [UInt8](repeating: 0xFF, count: 8)
        let key: [UInt8] = [0x7B, 0x69, 1, 0x61]
        for tail in [
            [0x53] + huge, [0x53] + negative, [0x5B, 0x24, 0x44, 0x23] + huge, [0x5B, 0x23] + huge,
            [0x5B, 0x24, 0x64, 0x23] + negative, [UInt8](repeating: 0x5B, count: 10_000), [0x5B, 0x24, 0x64, 0x5D],
        ] {
            #expect(code { _ = try ModelFormat.version(of: key + tail) } == .badModel)
        }
    }

    @Test func `messages of the library lose time, source and stack`() {
        let text = """
            [09:12:01] /src/regression_obj.cu:55: Check failed: info.labels.Size() > 0 (0 vs. 0) : label is empty
            Stack trace:
              [bt] (0) libxgboost.so
            """
        #expect(
            XGBoostLibrary.reason(in: text) == "Check failed: info.labels.Size() > 0 (0 vs. 0) : label is empty")
        #expect(XGBoostLibrary.reason(in: "") == "unknown reason")
    }

    @Test func `early stopping follows the metric's direction`() {
        var auc = EarlyStopping(patience: 2)
        #expect(
            [0.6, 0.7, 0.7, 0.65].enumerated().map { auc.shouldStop(after: $0, ("v-auc", $1)) } == [
                false, false, false, true,
            ])
        #expect(auc.best?.round == 1)
        var loss = EarlyStopping(patience: 1)
        #expect(
            [0.6, 0.5, 0.55].enumerated().map { loss.shouldStop(after: $0, ("v-poisson-nloglik", $1)) } == [
                false, false, true,
            ])
    }
}
