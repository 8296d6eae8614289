import ArgumentParser
import Foundation
import Manifests
import Server

/// `vagus serve`: what Delivery starts for a model workload; anyone may start it by hand.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Serves one model folder over Open Inference Protocol v2 and MLflow scoring.",
        discussion:
            "Example:\n  vagus artifacts train:latest train.model --to ./model\n  vagus serve --model ./model --name churn --listen 127.0.0.1:9000"
    )
    @Option(help: "The model folder.") var model: String
    @Option(help: "What it is called in paths.") var name = "model"
    @Option(help: "Its version.") var version = "1"
    @Option(help: "HOST:PORT; absent: 127.0.0.1 and $PORT.") var listen: Address?
    @Option(help: "Path of libxgboost.so; absent: the usual places.") var xgboostLibrary: String?
    @Option(help: "Port of 127.0.0.1 to listen on, instead of --listen.") var port: Int?
    @Option(help: "Where predictions are kept for monitors: FOLDER/COPY; segments are FOLDER/COPY-N.jsonl.")
    var predictions: String?
    @Option(help: .hidden) var project: String?
    @Option(help: .hidden) var service: String?
    @Option(help: .hidden) var revision: String?
    @Option(help: .hidden) var instance: String?
    @Option(help: "Share of predictions kept, 0 to 1.") var sample = 1.0
    @Option(help: "Where single requests are told for traces: FOLDER/COPY; files are FOLDER/COPY-….jsonl.")
    var requests: String?
    @Flag(help: "Only tells whether the model loads, and whether --rows can be scored.") var check = false
    @Option(help: "With --check: a file that holds a body of MLflow's scoring protocol.") var rows: String?
    @OptionGroup var flags: ServerFlags

    func run() async throws {
        if check {
            var settings = ModelFace.Settings(folder: model, name: name, version: version, host: "", port: 0)
            settings.xgboost = xgboostLibrary
            let body = try rows.map { try Array(Data(contentsOf: URL(filePath: $0))) }
            return Terminal.line(try ModelFace.check(settings, rows: body).text)
        }
        let environment = ProcessInfo.processInfo.environment
        let given = port.map(String.init) ?? environment["PORT"]
        guard let address = listen ?? given.flatMap({ Address(argument: "127.0.0.1:\($0)") }) else {
            throw ValidationError("give --listen HOST:PORT, or set PORT.")
        }
        var settings = ModelFace.Settings(
            folder: model, name: name, version: version, host: address.host, port: address.port)
        settings.xgboost = xgboostLibrary
        if let predictions {
            let place = URL(filePath: predictions)
            settings.predictions = (
                folder: place.deletingLastPathComponent().path, instance: place.lastPathComponent, sample: sample
            )
        }
        if let requests {
            let place = URL(filePath: requests)
            settings.requests = ModelFace.RequestFiles(
                folder: place.deletingLastPathComponent().path, copy: place.lastPathComponent,
                service: "\(project ?? "default")/\(service ?? name)", revision: revision ?? "",
                instance: instance ?? "")
        }
        try await ModelFace.run(settings, logger: try flags.logger(ServerConfig())) { port in
            Terminal.line("model \(name) version \(version) is served at http://\(address.host):\(port)")
        }
    }
}
