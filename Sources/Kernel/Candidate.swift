package import API
package import Manifests

/// What a manifest asks for, read and so checked, before it is taken: decoded once, however many rooms look at it.
package struct Candidate: Sendable {
    package let kind: String
    package let project: String
    package let name: String
    package let labels: Ordered<String>
    private let decoded: any Manifest

    init(_ kind: any Kind.Type, project: String, name: String, labels: Ordered<String>, spec: any Manifest) {
        (self.kind, self.project, self.name, self.labels) = (kind.name, project, name, labels)
        decoded = spec
    }

    /// What is wanted, when it is of this kind; nil else.
    package func spec<K: Kind>(of kind: K.Type) -> K.Spec? { self.kind == K.name ? decoded as? K.Spec : nil }

    /// As it is stored: with what is left at its default left out.
    package var resource: Resource {
        var resource = Resource()
        (resource.kind, resource.project, resource.name, resource.labels) = (kind, project, name, labels)
        resource.spec = decoded.json
        return resource
    }
}
